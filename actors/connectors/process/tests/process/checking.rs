//! What operators see of the checks, with components as they should be and as they should not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use servo_dispatch::{Check, CheckEvent, CheckFilter, DispatchOptions, DispatcherRef, Startup};
use servo_messages::{HaltOn, Severity};

use crate::connecting::with_warden;
use crate::roles::server_command;
use crate::world::{Mark, free_port, within};

fn on_a_bus<F: Future<Output = ()>>(test: &str, yaml: &str, body: impl FnOnce(DispatcherRef) -> F) {
    let warden = env!("CARGO_BIN_EXE_servo-warden");
    with_warden(warden, &format!("checking::{test}"), yaml, body);
}

async fn checks(bus: &DispatcherRef) -> Vec<Check> {
    let event = CheckEvent::new(CheckFilter::default(), HaltOn::default());
    let outcome = within(bus.dispatch(event, DispatchOptions::default())).await;
    outcome.unwrap().values().next().unwrap()
}

/// Outcome, message and hint of the check with this id.
fn told<'c>(checks: &'c [Check], id: &str) -> (Option<bool>, &'c str, &'c str) {
    let check = checks
        .iter()
        .find(|check| check.id.as_str() == id)
        .unwrap_or_else(|| panic!("{id} in {checks:?}"));
    (
        check.success(),
        check.message().unwrap_or_default(),
        check.hint().unwrap_or_default(),
    )
}

fn script(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_component_that_can_be_started_passes_and_nothing_is_started() {
    let mark = Mark::new();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    script(&home.join("service"), "#!/bin/sh\nsleep 60\n", 0o755);
    let yaml = format!(
        "components: {{web: {{command: [./service], cwd: '{}', env: {{MARK: '{}'}}, ready: {{tcp: '127.0.0.1:{}'}}}}, \
         other: {{command: [sleep, '60'], ready: {{log: up}}}}}}",
        home.display(),
        mark.text(),
        free_port(),
    );
    on_a_bus(
        "a_component_that_can_be_started_passes_and_nothing_is_started",
        &yaml,
        async |bus| {
            let checks = checks(&bus).await;
            let ids: Vec<_> = checks.iter().map(|check| check.id.as_str()).collect();
            assert_eq!(
                ids,
                [
                    "check_warden",
                    "check_directories_item_0",
                    "check_directories_item_1",
                    "check_programs_item_0",
                    "check_programs_item_1",
                    "check_environments_item_0",
                    "check_environments_item_1",
                    "check_variable_names_item_0",
                    "check_variable_names_item_1",
                    "check_addresses_item_0",
                ]
            );
            assert!(
                checks.iter().all(|check| check.success() == Some(true)),
                "{checks:?}"
            );
            assert_eq!(checks[0].severity, Severity::Critical);
            assert_eq!(checks[3].name, "Program of \"web\"");
            assert_eq!(checks[3].severity, Severity::Common);
            assert_eq!(checks[7].severity, Severity::Warning);
            let (_, found, _) = told(&checks, "check_programs_item_0");
            assert!(found.ends_with("/service"), "{found}");
            let (_, found, _) = told(&checks, "check_programs_item_1");
            assert!(
                found.starts_with('/') && found.ends_with("/sleep"),
                "{found}"
            );
            let (_, free, _) = told(&checks, "check_addresses_item_0");
            assert!(free.ends_with(" is free"), "{free}");
            assert!(mark.living().is_empty());
        },
    );
}

#[test]
fn each_thing_that_keeps_a_component_from_starting_is_named_with_a_way_out() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    script(&home.join("dull"), "#!/bin/sh\n", 0o644);
    script(&home.join("foreign"), "#!/no/such/shell -e\n", 0o755);
    script(&home.join("dos"), "#!/bin/sh\r\n", 0o755);
    let at = home.display();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let yaml = format!(
        "components:
  lost: {{command: [./service], cwd: /no/such/place}}
  file: {{command: [no-such-program], cwd: '{at}/dull'}}
  dull: {{command: [./dull], cwd: '{at}'}}
  hidden: {{command: [dull], cwd: '{at}', env: {{PATH: '/nowhere:{at}'}}}}
  foreign: {{command: ['{at}/foreign'], env: {{'my.name': x, ok: y}}}}
  dos: {{command: ['{at}/dos'], env: {{A: \"x\\0y\"}}}}
  twin: {{command: [sleep, '1'], ready: {{tcp: '127.0.0.1:9'}}}}
  double: {{command: [sleep, \"1\\0\"], ready: {{http: {{url: 'http://127.0.0.1:9/x'}}}}}}
  taken: {{command: [sleep, '1'], ready: {{http: {{url: 'http://{taken}/health'}}}}}}
  nowhere: {{command: [sleep, '1'], ready: {{tcp: 'no..host:80'}}}}
"
    );
    on_a_bus(
        "each_thing_that_keeps_a_component_from_starting_is_named_with_a_way_out",
        &yaml,
        async |bus| {
            let checks = checks(&bus).await;
            for (id, message, hint) in [
                (
                    "check_directories_item_0",
                    "cannot enter the working directory /no/such/place: No such file",
                    "mkdir -p /no/such/place",
                ),
                (
                    "check_directories_item_1",
                    "it is no directory",
                    "correct `cwd`",
                ),
                (
                    "check_programs_item_0",
                    "cannot execute /no/such/place/./service: No such file",
                    "`cwd`",
                ),
                (
                    "check_programs_item_1",
                    "command `no-such-program` not found: it is in no directory of PATH (",
                    "install it",
                ),
                ("check_programs_item_2", "may not be executed", "chmod +x"),
                ("check_programs_item_3", "may not be executed", "chmod +x"),
                (
                    "check_programs_item_4",
                    "wants to be run by \"/no/such/shell\", but: No such file",
                    "interpreter",
                ),
                (
                    "check_programs_item_5",
                    "wants to be run by \"/bin/sh\\r\", but: No such file",
                    "line feed",
                ),
                (
                    "check_environments_item_5",
                    "a null byte is in the variable `A`",
                    "`env`",
                ),
                (
                    "check_environments_item_7",
                    "a null byte is in argument 1",
                    "`command`",
                ),
                (
                    "check_variable_names_item_4",
                    "no shell can read `my.name`",
                    "underscores",
                ),
                (
                    "check_addresses_item_0",
                    "127.0.0.1:9 is the address of several components: twin, double",
                    "a port of its own",
                ),
                (
                    "check_addresses_item_1",
                    "127.0.0.1:9 is the address of several components: twin, double",
                    "a port of its own",
                ),
                (
                    "check_addresses_item_2",
                    &format!("{taken} is already answered by a process that Servo did not start"),
                    &format!("ss -ltnp 'sport = :{}' shows it", taken.port()),
                ),
                (
                    "check_addresses_item_3",
                    "no..host:80 leads nowhere: ",
                    "127.0.0.1",
                ),
            ] {
                let (success, found, way_out) = told(&checks, id);
                assert_eq!(success, Some(false), "{id}: {found}");
                assert!(found.contains(message), "{id}: {found}");
                assert!(way_out.contains(hint), "{id}: {way_out}");
            }
        },
    );
}

#[test]
fn a_running_component_answers_at_its_own_address() {
    let mark = Mark::new();
    let port = free_port();
    let yaml = format!(
        "components: {{web: {{command: {}, env: {{MARK: '{}', PORT: '{port}'}}, ready: {{tcp: '127.0.0.1:{port}'}}}}}}",
        server_command(),
        mark.text(),
    );
    on_a_bus(
        "a_running_component_answers_at_its_own_address",
        &yaml,
        async |bus| {
            let started = within(bus.dispatch(Startup, DispatchOptions::default())).await;
            started.unwrap();
            let pid = mark.living()[0];
            let checks = checks(&bus).await;
            let (success, message, _) = told(&checks, "check_addresses_item_0");
            assert_eq!(success, Some(true));
            let own = format!("127.0.0.1:{port} is the component's own (process {pid})");
            assert_eq!(message, own);
            assert_eq!(mark.living(), [pid], "it is left as it is");
        },
    );
}

#[test]
fn without_the_program_that_starts_components_nothing_else_matters() {
    with_warden(
        "/no/such/warden",
        "checking::without_the_program_that_starts_components_nothing_else_matters",
        "components: {web: {command: [sleep, '1']}}",
        async |bus| {
            let checks = checks(&bus).await;
            let (success, message, hint) = told(&checks, "check_warden");
            assert_eq!(success, Some(false));
            assert!(
                message.starts_with("cannot start /no/such/warden: No such file"),
                "{message}"
            );
            assert!(hint.contains("SERVO_WARDEN"), "{hint}");
            assert!(checks[1..].iter().all(Check::skipped));
        },
    );
}
