//! `servo status`

use serde_json::json;

use super::{
    Context, Failure, Output,
    admin_client::{
        AdminClient, AdminError, AdminOptions,
        answers::{Daemon, Servo, ServoInFull},
        words::{self, age, span},
    },
    print, print_data, table,
};
use crate::daemon;

/// Say how a running daemon and its servos are
///
/// Exit code: 0 when the daemon is ready, or the servo that is named does its work; 1 when not; 2
/// when there is no such servo; 69 when no daemon answers. Servos that fail do not make the daemon
/// any less ready: ask for them by name, or with --state.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One servo, in full
    servo: Option<String>,
    /// Only servos in this state, as polling, executing or parked
    #[arg(long, value_name = "STATE", conflicts_with = "servo")]
    state: Option<String>,
    /// Only servos whose names contain this
    #[arg(long, value_name = "TEXT", conflicts_with = "servo")]
    search: Option<String>,
    /// What it looks like
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    admin: AdminOptions,
}

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = AdminClient::new(context, &arguments.admin)?;
    let named = arguments.servo.as_ref().or(context.name.as_ref());
    let asked = async {
        match named {
            Some(name) => one(&client, name, arguments.output).await,
            None => all(&client, arguments).await,
        }
    };
    daemon::block_on(asked).map_err(|e| Failure::Failed(e.to_string()))?
}

async fn all(client: &AdminClient, arguments: &Arguments) -> Result<(), Failure> {
    let status = client.get(&["status"], &[]).await?;
    let daemon: Daemon = client.read(status.clone())?;
    let state = arguments
        .state
        .as_deref()
        .map(|s| s.replace([' ', '-'], "_"));
    let parameters: Vec<(&str, &str)> = [("state", &state), ("q", &arguments.search)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .collect();
    let servos = client.servos(&parameters).await?;
    if arguments.output == Output::Table {
        let rows: Vec<_> = client.read_servos(&servos)?.iter().map(row).collect();
        print(&head(client, &daemon))?;
        if !rows.is_empty() {
            print(&format!("\n{}", table::render(HEADERS, rows)))?;
        } else if !parameters.is_empty() {
            print("\nno servo matches")?;
        }
    } else {
        print_data(
            arguments.output,
            &json!({"daemon": status, "servos": servos}),
        )?;
    }
    if daemon.ready {
        Ok(())
    } else {
        let at = client.base();
        Err(Failure::Failed(format!("the daemon at {at} is not ready")))
    }
}

fn head(client: &AdminClient, daemon: &Daemon) -> String {
    let mut lines = vec![format!("{} at {}", words::daemon(daemon), client.base())];
    lines.extend(words::reload(daemon));
    lines.join("\n")
}

const HEADERS: [&str; 9] = [
    "NAME",
    "STATE",
    "SINCE",
    "OPERATION",
    "DONE",
    "NOT OK",
    "RESTARTS",
    "LAST",
    "ERROR",
];

fn row(servo: &Servo) -> [String; 9] {
    [
        words::one_line(&servo.name),
        brief(&words::state_in_full(servo)),
        age(servo.since_seconds),
        brief(&words::operation(servo)),
        servo.finished.to_string(),
        servo.not_ok.to_string(),
        servo.restarts.to_string(),
        words::last(servo),
        brief(servo.error.as_deref().unwrap_or_default()),
    ]
}

/// What fits a table; `servo status NAME` shows all of it.
fn brief(text: &str) -> String {
    const LONGEST: usize = 60;
    let text = text.lines().next().unwrap_or_default();
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(LONGEST - 1).collect();
            format!("{}…", kept.trim_end())
        }
    }
}

async fn one(client: &AdminClient, name: &str, output: Output) -> Result<(), Failure> {
    let answer = client.get(&["servos", name], &[]).await;
    let answer = answer.map_err(|error| match error {
        AdminError::Refused { status, .. } if status == 404 => unknown(client, name),
        other => other.into(),
    })?;
    let full: ServoInFull = client.read(answer.clone())?;
    if output == Output::Table {
        print(&in_full(&full))?;
    } else {
        print_data(output, &answer)?;
    }
    match words::trouble(&full) {
        None => Ok(()),
        Some(trouble) => Err(Failure::Failed(format!(
            "servo \"{}\" does not do its work: {trouble}",
            full.servo.name
        ))),
    }
}

/// There is no such servo.
pub(super) fn unknown(client: &AdminClient, name: &str) -> Failure {
    Failure::Usage(format!(
        "No servo was found named \"{name}\": the daemon at {} runs none; `servo status` lists them",
        client.base()
    ))
}

fn in_full(full: &ServoInFull) -> String {
    let servo = &full.servo;
    let mut facts = vec![
        ("servo", servo.name.clone()),
        (
            "state",
            format!(
                "{}, for {}",
                words::state_in_full(servo),
                age(servo.since_seconds)
            ),
        ),
    ];
    if let Some(command) = &servo.command {
        let uid = command.uid.as_ref();
        let uid = uid.map_or_else(String::new, |uid| format!(" (uid {uid})"));
        facts.push(("operation", format!("{}{uid}", words::operation(servo))));
    }
    facts.push((
        "commands",
        format!(
            "{} finished, {} of them not ok",
            servo.finished, servo.not_ok
        ),
    ));
    if let Some(last) = &servo.last {
        let message = last.message.as_ref();
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        let took = span(last.took_seconds);
        facts.push((
            "last",
            format!("{}, took {took}{message}", words::last(servo)),
        ));
    }
    facts.push(("restarts", servo.restarts.to_string()));
    if let Some(url) = &full.optimizer.url {
        let outage = full.optimizer.outage_seconds;
        let outage = outage.map_or_else(String::new, |seconds| {
            format!(", no usable answer for {}", age(seconds))
        });
        facts.push(("optimizer", format!("{url}{outage}")));
    }
    if let Some(error) = &servo.error {
        facts.push(("error", error.clone()));
    }
    let facts: Vec<String> = facts
        .into_iter()
        .map(|(label, value)| format!("{:11}{}", format!("{label}:"), words::one_line(&value)))
        .collect();
    let mut parts = vec![facts.join("\n")];
    if !full.connectors.is_empty() {
        let rows = full.connectors.iter().map(|connector| {
            [
                connector.name.clone(),
                connector.kind.clone().unwrap_or_default(),
                words::state(&connector.state),
                connector.doing.clone().unwrap_or_default(),
                connector.restarts.to_string(),
                connector.last_exit.clone().unwrap_or_default(),
            ]
        });
        let headers = [
            "CONNECTOR",
            "TYPE",
            "STATE",
            "DOING",
            "RESTARTS",
            "LAST EXIT",
        ];
        parts.push(table::render(headers, rows.collect()));
    }
    if !full.recent_errors.is_empty() {
        let rows = full.recent_errors.iter().map(|logged| {
            [
                words::ago(&logged.at),
                logged.level.to_uppercase(),
                logged.text.clone(),
            ]
        });
        parts.push(table::render(["RECENTLY", "LEVEL", "TEXT"], rows.collect()));
    }
    parts.join("\n\n")
}
