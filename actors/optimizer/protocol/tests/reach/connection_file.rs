//! Connection files that come late, change, and break (`spec/optimizer-protocol.md` §2.2, §23: 8).

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use servo_protocol::{
    AppdynamicsSource, ConnectionFiles, HttpOptimizer, OptimizerClient as _, PostError, Response,
};

use crate::{
    LONG, channel,
    server::{Reply, Server},
    time::StandingTime,
    whats_next,
};

fn optimizer() -> Server {
    Server::start(|_, _| Reply::Json(200, json!({"status": "ok"})))
}

fn servo(id: &str, file: &Path, files: &ConnectionFiles) -> HttpOptimizer {
    let source = AppdynamicsSource {
        optimizer_id: id.into(),
        connection_file: Some(file.into()),
        ..AppdynamicsSource::default()
    };
    HttpOptimizer::appdynamics(channel(), source, files).unwrap()
}

fn connection(server: &Server, token: &str) -> String {
    format!(
        "Authorization: Bearer {token}\nEndpoint: {}/\nTenantId: tenant-1\n",
        server.url()
    )
}

/// As an agent does it: written beside, then moved into place.
fn replace(file: &Path, content: &str) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(&beside, file).unwrap();
}

async fn post(client: &HttpOptimizer) -> Result<Response, PostError> {
    client.post(&whats_next(), LONG).await
}

/// Posts until a request has this credential at `server`.
async fn until_credential(client: &HttpOptimizer, server: &Server, token: &str) {
    let began = Instant::now();
    let wanted = format!("Bearer {token}");
    loop {
        post(client).await.unwrap();
        let last = server.received().pop();
        if last.is_some_and(|last| last.header("authorization") == wanted) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "not within 5 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_replaced_file_is_followed_to_another_place_and_its_loss_is_survived() {
    let (dir, files) = (tempfile::tempdir().unwrap(), ConnectionFiles::default());
    let file = dir.path().join("connection.yaml");
    let (one, two) = (optimizer(), optimizer());
    std::fs::write(&file, connection(&one, "first")).unwrap();
    let client = servo("opt-1", &file, &files);
    post(&client).await.unwrap();
    let first = &one.received()[0];
    assert_eq!(first.path, "/rest/optimize/co/v1/optimizers/opt-1/servo");
    assert_eq!(first.header("authorization"), "Bearer first");

    replace(&file, &connection(&two, "second"));
    until_credential(&client, &two, "second").await;
    assert!(client.display_url().starts_with(&two.url()));

    // Gone, then half of it: the last connection is kept.
    let kept = two.received().len();
    std::fs::remove_file(&file).unwrap();
    let gone = Instant::now();
    while gone.elapsed() < Duration::from_millis(1600) {
        post(&client).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(&file, "Authorization: Bearer third\nEndp").unwrap();
    for _ in 0..3 {
        post(&client).await.unwrap();
    }
    let since = two.received().split_off(kept);
    assert!(
        since
            .iter()
            .all(|request| request.header("authorization") == "Bearer second")
    );

    std::fs::write(&file, connection(&one, "third")).unwrap();
    until_credential(&client, &one, "third").await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_mounted_secret_is_followed_through_its_links() {
    use std::os::unix::fs::symlink;
    let (dir, files) = (tempfile::tempdir().unwrap(), ConnectionFiles::default());
    let at = |path: &str| dir.path().join(path);
    let (one, two) = (optimizer(), optimizer());
    for (version, server) in [("..1", &one), ("..2", &two)] {
        std::fs::create_dir(at(version)).unwrap();
        let file = at(version).join("connection.yaml");
        std::fs::write(file, connection(server, version)).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/connection.yaml", at("connection.yaml")).unwrap();
    let client = servo("opt-1", &at("connection.yaml"), &files);
    until_credential(&client, &one, "..1").await;
    symlink("..2", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    std::fs::remove_dir_all(at("..1")).unwrap();
    until_credential(&client, &two, "..2").await;
}

#[tokio::test]
async fn a_file_that_comes_late_is_awaited() {
    let (dir, files) = (tempfile::tempdir().unwrap(), ConnectionFiles::default());
    let file = dir.path().join("connection.yaml");
    let server = optimizer();
    let client = servo("opt-1", &file, &files);
    assert!(client.display_url().contains("connection.yaml"));
    // An attempt that ends before the file comes may be made again.
    let error = client.post(&whats_next(), Duration::from_millis(50)).await;
    let error = error.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert!(error.to_string().contains("still awaited"), "{error}");
    let posting = post(&client);
    let writing = async {
        std::fs::write(&file, "").unwrap();
        tokio::task::yield_now().await;
        replace(&file, &connection(&server, "late"));
    };
    let (answer, ()) = tokio::join!(posting, writing);
    answer.unwrap();
    assert_eq!(server.received()[0].header("authorization"), "Bearer late");
}

#[tokio::test]
async fn a_file_that_never_comes_is_a_fault_of_the_configuration() {
    let (dir, files) = (tempfile::tempdir().unwrap(), ConnectionFiles::default());
    let file = dir.path().join("nope.yaml");
    let client = servo("opt-1", &file, &files);
    let began = Instant::now();
    loop {
        let attempt = client.post(&whats_next(), Duration::from_millis(20)).await;
        if attempt.unwrap_err().to_string().contains("No such file") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let time = StandingTime::begin();
    time.pass(Duration::from_secs(59)).await;
    let request = whats_next();
    let posting = client.post(&request, Duration::from_secs(3600));
    let (answer, ()) = tokio::join!(posting, async {
        tokio::task::yield_now().await;
        time.pass(Duration::from_secs(2)).await;
    });
    let error = answer.unwrap_err();
    let text = error.to_string();
    assert!(!error.retryable(), "{text}");
    for said in [
        &*file.display().to_string(),
        "connection_file",
        "No such file",
        "60s",
    ] {
        assert!(text.contains(said), "{text}");
    }
    // From then on it is known at once; and still seen when it comes.
    assert_eq!(client.post(&request, LONG).await, Err(error));
    let server = optimizer();
    std::fs::write(&file, connection(&server, "at-last")).unwrap();
    let began = Instant::now();
    while client.post(&request, LONG).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(5));
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20)))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_refused_credential_is_read_anew_at_once() {
    let (dir, files) = (tempfile::tempdir().unwrap(), ConnectionFiles::default());
    let file = dir.path().join("connection.yaml");
    let server = Server::start(|request, _| match request.header("authorization") {
        "Bearer new" => Reply::Json(200, json!({"status": "ok"})),
        _ => Reply::Json(401, json!({})),
    });
    std::fs::write(&file, connection(&server, "old")).unwrap();
    let client = servo("opt-1", &file, &files);
    let error = post(&client).await.unwrap_err();
    assert_eq!((error.status(), server.received().len()), (Some(401), 1));
    std::fs::write(&file, connection(&server, "new")).unwrap();
    post(&client).await.unwrap();
    assert!(server.received().len() <= 3);
}

#[tokio::test]
async fn servos_share_the_look_at_a_file_and_an_override_stays() {
    let (dir, files) = (tempfile::tempdir().unwrap(), ConnectionFiles::default());
    let file = dir.path().join("connection.yaml");
    let (server, fixed) = (optimizer(), optimizer());
    std::fs::write(&file, connection(&server, "t")).unwrap();
    let servos: Vec<_> = (0..20)
        .map(|i| servo(&format!("opt-{i}"), &file, &files))
        .collect();
    let overridden = AppdynamicsSource {
        optimizer_id: "opt".into(),
        connection_file: Some(file.clone()),
        url: Some(format!("{}/over/ride", fixed.url())),
        ..AppdynamicsSource::default()
    };
    let overridden = HttpOptimizer::appdynamics(channel(), overridden, &files).unwrap();
    for servo in &servos {
        post(servo).await.unwrap();
    }
    post(&overridden).await.unwrap();
    assert_eq!(server.received().len(), 20);
    assert_eq!(fixed.received()[0].path, "/over/ride/servo");
    assert_eq!(fixed.received()[0].header("authorization"), "Bearer t");
    assert_eq!(format!("{files:?}").matches("connection.yaml").count(), 1);
    // The look ends with the last servo.
    drop((servos, overridden));
    let began = Instant::now();
    while format!("{files:?}") != "{}" {
        assert!(began.elapsed() < Duration::from_secs(5), "{files:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
