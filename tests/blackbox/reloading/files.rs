//! The files that servos name, and files that are watched.

use std::{fs, os::unix::fs::symlink, thread, time::Duration};

use servo_doubles::ScriptedOptimizer;

use super::{
    AUTHORITY, document, end, file, idle, next_outcome, outcomes, reload, told, until_event,
};
use crate::bench::{Bench, SOON};

#[test]
fn files_that_servos_name_and_variables_count() {
    let (token, authority, variable) = (idle(), idle(), idle());
    let bench = Bench::new();
    let text = [
        format!(
            "name: token\nwait: {{measure_enabled: true}}\n\
             optimizer: {{id: example.com/token, token_file: the-token, base_url: \"{}\"}}\n",
            token.base_url()
        ),
        document("authority", &authority, "settings: {ssl_verify: ca.pem}\n"),
        format!(
            "name: variable\nwait: {{measure_enabled: true}}\n\
             optimizer: {{id: example.com/variable, base_url: \"{}\"}}\n",
            variable.base_url()
        ),
    ];
    bench.write("servo.yaml", &file(&text));
    bench.write("the-token", "one\n");
    bench.write("ca.pem", AUTHORITY);
    bench.write(".env", "OPSANI_TOKEN=first\n");
    let mut servo = bench.start(&["run"]);
    for optimizer in [&token, &authority, &variable] {
        until_event(optimizer, "WHATS_NEXT");
    }
    let hellos = |optimizer: &ScriptedOptimizer| {
        let received = optimizer.received();
        let hellos = received.iter().filter(|r| r.event == "HELLO");
        hellos
            .map(|r| r.header("authorization").unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let again = |optimizer: &ScriptedOptimizer| {
        optimizer
            .wait_for(SOON, |received| {
                received.iter().filter(|r| r.event == "HELLO").count() == 2
            })
            .unwrap();
    };
    bench.write("the-token", "two\n");
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =2 in "));
    again(&token);
    assert_eq!(hellos(&token), ["Bearer one", "Bearer two"]);

    bench.write("ca.pem", &format!("{AUTHORITY}\n{AUTHORITY}"));
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =2 in "));
    again(&authority);
    bench.write("ca.pem", "no certificate\n");
    let outcome = reload(&mut servo);
    assert!(
        outcome.starts_with("reload refused: servo \"authority\": ") && outcome.contains("ca.pem"),
        "{outcome}"
    );
    bench.write("ca.pem", &format!("{AUTHORITY}\n{AUTHORITY}"));

    bench.write(".env", "OPSANI_TOKEN=second\n");
    assert!(reload(&mut servo).starts_with("reload finished: +0 ~1 -0 =2 in "));
    again(&variable);
    assert_eq!(hellos(&variable), ["Bearer first", "Bearer second"]);
    assert_eq!((hellos(&token).len(), hellos(&authority).len()), (2, 2));
    end(servo);
}

#[test]
fn files_are_watched_where_that_is_wanted() {
    let (a, b) = (idle(), idle());
    let bench = Bench::new();
    // As the kubelet mounts a ConfigMap.
    let version = |name: &str, text: &str| {
        fs::create_dir(bench.path(name)).unwrap();
        fs::write(bench.path(name).join("servo.yaml"), text).unwrap();
        symlink(name, bench.path("..data_tmp")).unwrap();
        fs::rename(bench.path("..data_tmp"), bench.path("..data")).unwrap();
    };
    version("..1", &document("a", &a, ""));
    symlink("..data/servo.yaml", bench.path("servo.yaml")).unwrap();
    bench.write("servo.toml", "watch = true\n");
    let mut servo = bench.start(&["run"]);
    until_event(&a, "WHATS_NEXT");
    // The first look has been taken by then.
    thread::sleep(Duration::from_secs(1));
    version(
        "..2",
        &file(&[document("a", &a, ""), document("b", &b, "")]),
    );
    let outcome = next_outcome(&mut servo, 0);
    assert!(
        outcome.starts_with("reload finished: +1 ~0 -0 =1 in "),
        "{outcome}"
    );
    until_event(&b, "WHATS_NEXT");
    // Half of a file is refused, once.
    fs::remove_file(bench.path("servo.yaml")).unwrap();
    bench.write("servo.yaml", "name: a\nwait: {measure_");
    let outcome = next_outcome(&mut servo, 1);
    assert!(
        outcome.starts_with("reload refused: servo.yaml: "),
        "{outcome}"
    );
    thread::sleep(Duration::from_secs(5));
    assert_eq!(outcomes(&servo.stderr()).len(), 2, "{}", servo.stderr());
    // Replaced by a rename, as editors do.
    bench.write("new.yaml", &document("a", &a, ""));
    fs::rename(bench.path("new.yaml"), bench.path("servo.yaml")).unwrap();
    let outcome = next_outcome(&mut servo, 2);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -1 =1 in "),
        "{outcome}"
    );
    // No longer.
    bench.write("servo.toml", "watch = false\n");
    let outcome = next_outcome(&mut servo, 3);
    assert!(
        outcome.starts_with("reload finished: +0 ~0 -0 =1 in "),
        "{outcome}"
    );
    bench.write("servo.yaml", "x: [");
    thread::sleep(Duration::from_secs(5));
    let ended = end(servo);
    assert_eq!(outcomes(&ended.stderr).len(), 4, "{ended}");
    assert_eq!(told(&a), ["HELLO", "WHATS_NEXT", "GOODBYE SIGTERM"]);
}
