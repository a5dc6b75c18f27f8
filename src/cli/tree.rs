//! `servo tree`

use serde_json::Value;

use super::{
    Context, Failure, Output,
    admin_client::{
        AdminClient, AdminError, AdminOptions,
        answers::Node,
        words::{self, age},
    },
    print, print_data, status,
};
use crate::daemon;

/// Show the actors of a running daemon, each below its supervisor
///
/// Exit code: 0; 2 when there is no such servo; 69 when no daemon answers.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only this servo and what is below it
    servo: Option<String>,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    admin: AdminOptions,
}

/// What the servos are below, in the tree.
const SERVOS: &str = "servo/assembly";

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = AdminClient::new(context, &arguments.admin)?;
    let named = arguments.servo.as_ref().or(context.name.as_ref());
    let answer = daemon::block_on(ask(&client, named.map(String::as_str)))
        .map_err(|e| Failure::Failed(e.to_string()))??;
    match arguments.output {
        Output::Table => {
            let mut lines = Vec::new();
            write(&client.read(answer)?, 0, &mut lines);
            print(&lines.join("\n"))
        }
        output => print_data(output, &answer),
    }
}

async fn ask(client: &AdminClient, named: Option<&str>) -> Result<Value, Failure> {
    let Some(name) = named else {
        return Ok(client.get(&["tree"], &[]).await?);
    };
    let path = format!("{SERVOS}/{name}");
    match client.get(&["tree"], &[("path", &path)]).await {
        Ok(tree) => Ok(tree),
        Err(AdminError::Refused { status, .. }) if status == 404 => {
            Err(status::unknown(client, name))
        }
        Err(error) => Err(error.into()),
    }
}

fn write(node: &Node, depth: usize, lines: &mut Vec<String>) {
    let mut words = vec![format!(
        "{} for {}",
        words::state(&node.state),
        age(node.age_seconds)
    )];
    match node.restarts {
        0 => {}
        1 => words.push("1 restart".to_owned()),
        many => words.push(format!("{many} restarts")),
    }
    words.extend(node.doing.clone());
    words.extend(
        node.last_exit
            .as_ref()
            .map(|exit| format!("last exit: {exit}")),
    );
    let line = format!("{}: {}", node.name, words.join(", "));
    lines.push(format!(
        "{:indent$}{}",
        "",
        words::one_line(&line),
        indent = 2 * depth
    ));
    for child in &node.children {
        write(child, depth + 1, lines);
    }
}
