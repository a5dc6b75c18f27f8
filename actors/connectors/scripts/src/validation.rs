//! What the types of the stanza cannot say.

use servo_dispatch::ConfigProblem;
use servo_messages::Duration;

use crate::{
    config::{EventScripts, ScriptsConfig},
    script::ScriptFailure,
};

/// Everything that is wrong, with the key of each.
pub(crate) fn problems(config: &ScriptsConfig) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    for (stage, events) in [
        ("before", &config.before),
        ("on", &config.on),
        ("after", &config.after),
    ] {
        stage_problems(stage, events.as_ref(), &mut problems);
    }
    problems
}

fn stage_problems(stage: &str, events: Option<&EventScripts>, problems: &mut Vec<ConfigProblem>) {
    let scripts = events
        .into_iter()
        .flat_map(EventScripts::iter)
        .flat_map(|(event, scripts)| {
            scripts
                .iter()
                .enumerate()
                .map(move |(index, script)| (format!("{stage}.{event}[{index}]"), script))
        });
    for (path, script) in scripts {
        if script.run.trim().is_empty() {
            problems.push(ConfigProblem::error(
                &path,
                "the command is blank: expected a line for the shell",
            ));
        }
        if script.timeout.is_some_and(Duration::is_zero) {
            problems.push(ConfigProblem::error(
                format!("{path}.timeout"),
                "expected more than 0; leave it out for no limit",
            ));
        }
        if script.on_failure == ScriptFailure::Cancel && stage != "before" {
            problems.push(ConfigProblem::error(
                format!("{path}.on_failure"),
                format!(
                    "'cancel' is for commands under `before`: when those under `{stage}` run, the event has \
                     happened; expected 'ignore' or 'fail'"
                ),
            ));
        }
    }
}
