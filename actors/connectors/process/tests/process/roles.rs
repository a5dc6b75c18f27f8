//! Programs that the tests start: this test binary again, in another role. Without its variable a role
//! returns at once.

use std::io::{Read, Write};
use std::time::Duration;

use crate::world::{Mark, component, warden};
use servo_connector_process::keeper::Keeper;
use servo_connector_process::readiness;
use tokio_util::sync::CancellationToken;

/// A command that runs this binary as an HTTP server on `PORT`.
pub fn server_command() -> String {
    let binary = crate::world::this_binary();
    format!(
        "[{:?}, --exact, roles::server, --ignored, --nocapture]",
        binary.display().to_string()
    )
}

/// Answers each request with `STATUS` (200) and the value of `WORKERS`.
#[test]
#[ignore = "a role, started by other tests"]
fn server() {
    let Ok(port) = std::env::var("PORT") else {
        return;
    };
    let listener = match std::net::TcpListener::bind(format!("127.0.0.1:{port}")) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {port}: {error}");
            std::process::exit(98);
        }
    };
    let status = std::env::var("STATUS").unwrap_or_else(|_| "200".into());
    let workers = std::env::var("WORKERS").unwrap_or_default();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        let mut request = [0; 4096];
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        if matches!(stream.read(&mut request), Ok(read) if read > 0) {
            let length = workers.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{workers}"
            );
        }
    }
}

/// Holds a component whose processes carry the mark in `HOLD`, until it is killed, or until its standard
/// input ends: then it leaves without stopping anything.
#[tokio::test]
#[ignore = "a role, started by other tests"]
async fn holder() {
    let Ok(mark) = std::env::var("HOLD") else {
        return;
    };
    let mark = Mark::from(mark);
    let keeper = Keeper::new(
        component(&format!(
            r#"
components:
  held:
    command: [sh, -c, "trap '' TERM; sleep 1000 & setsid sleep 1000 & while :; do sleep 1000; done"]
    env: {{MARK: {}}}
    settle: 0
    stop: {{grace: 200ms}}
"#,
            mark.text()
        )),
        warden(),
        readiness::client().unwrap(),
    );
    keeper
        .ensure_running(&CancellationToken::new())
        .await
        .unwrap()
        .unwrap();
    let ended = tokio::task::spawn_blocking(|| {
        let _ = std::io::stdin().read(&mut [0]);
    });
    ended.await.unwrap();
    std::process::exit(0);
}
