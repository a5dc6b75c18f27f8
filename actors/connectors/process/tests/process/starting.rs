//! From a command to a process that is ready, or a clear error.

use std::time::{Duration, Instant};

use servo_connector_process::child::SpawnError;
use servo_connector_process::tuner::StartError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::roles::server_command;
use crate::world::{Mark, free_port, tuner, within};

fn never() -> CancellationToken {
    CancellationToken::new()
}

async fn start_error(yaml: &str) -> StartError {
    within(tuner(yaml).ensure_running(&never()))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn settings_reach_the_process_by_variable_placeholder_and_argument() {
    let mut tuner = tuner(
        r#"
components:
  - name: web
    command: [sh, -c, 'echo "got $WORKERS $SIZE_KIB $FIXED $1 $2 $#"; exec sleep 1000', sh, "level={level}"]
    env: {FIXED: 7}
    settings:
      - {name: workers, min: 1, max: 8, step: 1, value: 2}
      - {name: size, min: 0.5, max: 2, step: 0.5, value: 1.5, env: SIZE_KIB}
      - {name: level, values: [1, 9], value: 9}
      - {name: codec, values: [gzip, zstd], value: gzip, argument: "--codec={value}"}
    ready: {log: "/^got 2 1\\.5 7 level=9 --codec=gzip 2$/"}
"#,
    );
    within(tuner.ensure_running(&never())).await.unwrap();
    let pulse = tuner.pulse().unwrap();
    assert_eq!(pulse.last_lines(), ["got 2 1.5 7 level=9 --codec=gzip 2"]);
}

#[tokio::test]
async fn ready_by_http_with_the_right_status() {
    for (status, wanted, ready) in [
        (200, "", true),
        (503, ", status: 503", true),
        (503, "", false),
    ] {
        let port = free_port();
        let mut tuner = tuner(&format!(
            r#"
components:
  web:
    command: {}
    env: {{PORT: {port}, STATUS: {status}}}
    ready: {{http: {{url: "http://127.0.0.1:{port}/health"{wanted}}}, timeout: 1500ms, interval: 20ms}}
"#,
            server_command()
        ));
        let outcome = within(tuner.ensure_running(&never())).await;
        match outcome {
            Ok(()) => assert!(ready),
            Err(error) => {
                assert!(!ready, "{error}");
                let text = error.to_string();
                assert!(text.contains("not ready within 1.5s"), "{text}");
                assert!(
                    text.contains("answered 503 Service Unavailable, not 2xx"),
                    "{text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn ready_by_tcp() {
    let port = free_port();
    let mut tuner = tuner(&format!(
        r#"
components:
  web:
    command: {}
    env: {{PORT: {port}}}
    ready: {{tcp: "127.0.0.1:{port}", interval: 20ms}}
"#,
        server_command()
    ));
    within(tuner.ensure_running(&never())).await.unwrap();
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn ready_by_a_line_that_has_no_end() {
    let mut tuner = tuner(
        r#"
components:
  web: {command: [sh, -c, "printf 'all systems go'; exec sleep 1000"], ready: {log: systems}}
"#,
    );
    within(tuner.ensure_running(&never())).await.unwrap();
}

#[tokio::test]
async fn a_process_that_ends_is_told_at_once_with_status_and_last_lines() {
    let began = Instant::now();
    let error = start_error(
        r#"
components:
  web:
    command: [sh, -c, "echo first; echo cannot open the store >&2; exit 3"]
    ready: {tcp: "127.0.0.1:1", timeout: 60s}
"#,
    )
    .await;
    let text = error.to_string();
    assert!(
        text.contains("`web` ended with exit status 3 before it was ready"),
        "{text}"
    );
    assert!(
        text.contains("first") && text.contains("cannot open the store"),
        "{text}"
    );
    assert!(error.blames_values());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_process_that_puts_itself_into_the_background_is_named_as_such() {
    let mark = Mark::new();
    let error = start_error(&format!(
        r#"
components:
  web: {{command: [sh, -c, "setsid sleep 1000 & exit 0"], env: {{MARK: {}}}}}
"#,
        mark.text()
    ))
    .await;
    assert!(
        error.to_string().contains("must stay in the foreground"),
        "{error}"
    );
    assert!(mark.living().is_empty());
}

#[tokio::test]
async fn what_cannot_be_started_is_named() {
    let error = start_error("components: {web: {command: [no-such-program-here]}}").await;
    assert!(
        matches!(error, StartError::Spawn(SpawnError::NotFound { .. })),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("`no-such-program-here` not found"),
        "{error}"
    );

    let error = start_error("components: {web: {command: [./service], cwd: /tmp}}").await;
    assert_eq!(
        error.to_string(),
        "command `./service` not found: there is no file /tmp/service: check `command` and `cwd`"
    );

    let error = start_error("components: {web: {command: [sleep, 10], cwd: /no/such/place}}").await;
    assert!(
        error
            .to_string()
            .contains("working directory /no/such/place: No such file"),
        "{error}"
    );

    let error = start_error("components: {web: {command: [/etc/passwd]}}").await;
    assert!(
        error
            .to_string()
            .contains("cannot start `/etc/passwd`: Permission denied"),
        "{error}"
    );
    assert!(!error.blames_values());
}

#[tokio::test]
async fn a_script_whose_interpreter_is_missing_is_not_called_missing() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("service");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let yaml = format!("components: {{web: {{command: [{}]}}}}", script.display());
    // Another test may be forking while the script is still open for writing.
    let mut text = start_error(&yaml).await.to_string();
    while text.contains("Text file busy") {
        text = start_error(&yaml).await.to_string();
    }
    assert!(
        text.contains("the file is there, but not the interpreter"),
        "{text}"
    );
}

/// A server with one worker must not lose it to the probe that found it ready.
#[tokio::test]
async fn no_connection_outlives_its_probe() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let served = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let size = stream.read(&mut request).await.unwrap();
        let head = String::from_utf8_lossy(&request[..size]).to_ascii_lowercase();
        assert!(head.contains("connection: close"), "{head}");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
        // The end of the stream, although the server would go on.
        assert_eq!(stream.read(&mut request).await.unwrap_or(0), 0);
    };
    let client = servo_connector_process::readiness::client().unwrap();
    let probe = async { drop(client.get(url).send().await.unwrap()) };
    within(async { tokio::join!(served, probe) }).await;
}

#[tokio::test]
async fn an_address_in_use_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let tried = directory.path().join("tried");
    let mut tuner = tuner(&format!(
        r#"
components:
  web:
    command: [sh, -c, '[ -e {0} ] && {{ echo up; exec sleep 1000; }}; touch {0}; echo "bind: Address already in use" >&2; exit 1']
    ready: {{log: up}}
"#,
        tried.display()
    ));
    within(tuner.ensure_running(&never())).await.unwrap();
}

#[tokio::test]
async fn a_stranger_on_the_port_is_not_tuned() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = stranger.local_addr().unwrap();
    let yaml = format!(
        r#"
components:
  web:
    command: {}
    env: {{PORT: {}}}
    ready: {{http: {{url: "http://{address}/"}}, interval: 20ms}}
    stop: {{grace: 100ms}}
"#,
        server_command(),
        address.port()
    );
    let mut tuner = tuner(&yaml);
    let error = within(tuner.ensure_running(&never())).await.unwrap_err();
    assert!(matches!(error, StartError::AddressTaken(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains(&format!("{address} is already answered")),
        "{error}"
    );
    assert!(!error.blames_values());

    // Once it leaves, the same component starts.
    let leaves = async { drop(stranger) };
    let cancel = never();
    let (started, ()) = tokio::join!(within(tuner.ensure_running(&cancel)), leaves);
    started.unwrap();
}

#[tokio::test]
async fn a_port_that_cannot_be_bound_shows_in_the_last_lines() {
    let stranger = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = start_error(&format!(
        r#"
components:
  web:
    command: {}
    env: {{PORT: {}}}
    ready: {{log: "never printed", timeout: 300ms}}
"#,
        server_command(),
        stranger.local_addr().unwrap().port()
    ))
    .await;
    let text = error.to_string();
    assert!(
        text.contains("exit status 98") && text.contains("cannot listen on"),
        "{text}"
    );
    assert!(text.contains("found its address in use for"), "{text}");
    assert!(!error.blames_values(), "{text}");
}

#[tokio::test]
async fn a_program_that_is_no_warden_is_found_out() {
    use servo_connector_process::{readiness, tuner::Tuner, warden::WardenProgram};
    for program in ["/bin/true", "/bin/echo", "/no/such/warden"] {
        let component = crate::world::component("components: {web: {command: [sleep, 10]}}");
        let warden = WardenProgram::at(program);
        let mut tuner = Tuner::new(component, warden, readiness::client().unwrap());
        let error = within(tuner.ensure_running(&never())).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("cannot start the warden {program}")),
            "{error}"
        );
    }
}

/// As the `servo` binary does: the warden is the same program with a hidden word in front.
#[tokio::test]
async fn a_warden_behind_a_sub_command_works_the_same() {
    use std::os::unix::fs::PermissionsExt;

    use servo_connector_process::readiness;
    use servo_connector_process::tuner::Tuner;
    use servo_connector_process::warden::{SUBCOMMAND, WardenProgram};

    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("host");
    let warden = env!("CARGO_BIN_EXE_servo-warden");
    std::fs::write(
        &script,
        format!("#!/bin/sh\nexec '{warden}' {SUBCOMMAND}\n"),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let component = crate::world::component(
        "components: {web: {command: [sh, -c, 'echo up; exec sleep 1000'], ready: {log: up}}}",
    );
    let mut tuner = Tuner::new(
        component,
        WardenProgram::at(&script),
        readiness::client().unwrap(),
    );
    // Another test may be forking while the script is still open for writing.
    let busy = |error: &StartError| error.to_string().contains("Text file busy");
    let mut started = within(tuner.ensure_running(&never())).await;
    while started.as_ref().is_err_and(busy) {
        started = within(tuner.ensure_running(&never())).await;
    }
    started.unwrap();
}

#[tokio::test]
async fn what_has_ended_by_itself_is_remembered_until_the_next_start() {
    let mark = Mark::new();
    let keeper = crate::world::keeper(&format!(
        "components: {{web: {{command: [sh, -c, 'echo up; exec sleep 1000'], env: {{MARK: {}}}, ready: {{log: up}}, restart: {{attempts: 0}}}}}}",
        mark.text()
    ));
    let pulse = within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    assert!(keeper.standing().ended.is_none());
    crate::world::kill(pulse.pid);
    crate::world::eventually("the end", || keeper.standing().pulse.is_none()).await;
    let ended = keeper.standing().ended.unwrap();
    assert_eq!(
        (ended.pid, ended.last_lines()),
        (pulse.pid, vec!["up".to_owned()])
    );
    within(keeper.ensure_running(&never()))
        .await
        .unwrap()
        .unwrap();
    assert!(keeper.standing().ended.is_none());
}
