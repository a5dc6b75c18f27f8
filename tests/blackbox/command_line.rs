//! The words that the program takes: help, usage errors, options behind commands, completions and
//! manuals. None of it needs a file.

use std::{fs, process::Stdio, time::Duration};

use crate::bench::{Bench, Ended};

const WAIT: &str = "wait: {measure_enabled: true}\n";

fn embedded(name: &str) -> String {
    format!("name: {name}\noptimizer: {{id: example.com/{name}, token: t}}\n{WAIT}")
}

/// The parts in this order, each behind the one before it.
#[track_caller]
fn assert_order(ended: &Ended, parts: &[&str]) {
    let mut rest = ended.stdout.as_str();
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            panic!("{part:?} is missing, or not where it belongs: {ended}");
        };
        rest = behind;
    }
}

#[test]
fn help_has_the_commands_under_their_titles() {
    let bench = Bench::new();
    let bare = bench.run(&[]);
    for ended in [&bare, &bench.run(&["--help"]), &bench.run(&["-h"])] {
        ended.assert_code(0);
        assert_eq!(ended.stderr, "");
        assert!(
            ended
                .stdout
                .starts_with("Usage: servo [OPTIONS] COMMAND [ARGS]...\n"),
            "{ended}"
        );
        assert_order(
            ended,
            &[
                "-c, --config-file FILE",
                "SERVO_CONFIG_FILE",
                "servo.yaml",
                "-n, --name NAME",
                "\nAssembly Commands:\n  init",
                "\n  list",
                "\n  connectors",
                "\n  show",
                "\nOperational Commands:\n  run",
                "\n  describe",
                "\n  measure",
                "\n  adjust",
                "\nConfiguration Commands:\n",
                "\n  validate",
                "\n  generate",
                "\nConnector Commands:\n  kube-metrics",
                "\n  kubernetes",
                "\n  opsani-dev",
                "\n  process",
                "\n  prometheus",
                "\n  scripts",
                "\n  vegeta",
                "\n  wait",
                "\nOther Commands:\n  version",
                "\n  completions",
                "\n  help",
            ],
        );
        assert!(!ended.stdout.contains('<'), "{ended}");
    }
}

/// Every command, and every command of a group: found by its help, as a user finds it.
#[test]
fn each_command_has_its_help_without_any_file() {
    let bench = Bench::new();
    let listed = |help: &str, title: &str| -> Vec<String> {
        help.split(title)
            .skip(1)
            .flat_map(|part| part.lines().skip(1).take_while(|line| !line.is_empty()))
            // What goes on from the line before begins further right.
            .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect()
    };
    let root = bench.run(&["--help"]);
    for command in listed(&root.stdout, "Commands:") {
        if command == "help" {
            continue;
        }
        let help = bench.run(&[&command, "--help"]);
        help.assert_code(0)
            .assert_stdout(&[&format!("Usage: servo {command} ")]);
        let first = help.stdout.lines().next().unwrap_or_default();
        assert!(!first.is_empty() && !first.starts_with("Usage"), "{help}");
        assert_eq!(help.stderr, "");
        assert_eq!(
            bench.run(&["help", &command]).assert_code(0).stdout,
            help.stdout
        );
    }
    for below in ["show", "vegeta", "prometheus", "optimizer"] {
        let ended = bench.run(&[below]);
        ended
            .assert_code(0)
            .assert_stdout(&[&format!("Usage: servo {below}"), "Commands:"]);
        for inner in listed(&ended.stdout, "Commands:") {
            if inner != "help" {
                bench
                    .run(&[below, &inner, "--help"])
                    .assert_code(0)
                    .assert_stdout(&[&format!("Usage: servo {below} {inner}")]);
            }
        }
    }
}

#[test]
fn words_that_are_not_understood() {
    let bench = Bench::new();
    for (words, path, text) in [
        (&["bogus"][..], "servo", "Error: No such command 'bogus'."),
        (
            &["measur"],
            "servo",
            "Error: No such command 'measur'. Did you mean 'measure'?",
        ),
        (&["--bogus"], "servo", "Error: No such option: --bogus"),
        (
            &["list", "--nam"],
            "servo list",
            "Error: No such option: --nam (did you mean '--name'?)",
        ),
        (
            &["show", "event"],
            "servo show",
            "Error: No such command 'event'. Did you mean 'events'?",
        ),
        (
            &["-n", "show", "vegeta", "atack"],
            "servo vegeta",
            "Error: No such command 'atack'. Did you mean 'attack'?",
        ),
        (
            &["completions"],
            "servo completions",
            "Error: Missing argument 'SHELL'.",
        ),
        (
            &["adjust"],
            "servo adjust",
            "Error: Missing argument 'COMPONENT.SETTING=VALUE'.",
        ),
        (
            &["--optimizer"],
            "servo",
            "Error: Option '--optimizer' requires an argument.",
        ),
        (
            &["--limit", "0", "list"],
            "servo",
            "Error: Invalid value for '--limit': '0' is not a number of at least 1",
        ),
        (
            &["completions", "cmd"],
            "servo completions",
            "Error: Invalid value for 'SHELL': 'cmd' is not one of bash, zsh, fish, powershell, elvish.",
        ),
        (&["-n", "one"], "servo", "Error: Missing command."),
    ] {
        let ended = bench.run(words);
        ended.assert_code(2).assert_stderr(&[
            &format!("Usage: {path} "),
            &format!("\nTry '{path} --help' for help.\n\n{text}\n"),
        ]);
        assert_eq!(ended.stdout, "", "{ended}");
    }
}

#[test]
fn options_of_the_root_behind_a_command() {
    let bench = Bench::new();
    bench.write("servo.yaml", "not: [valid");
    bench.write("other.yaml", WAIT);
    bench.write(
        "two.yaml",
        &format!("{}---\n{}", embedded("left"), embedded("right")),
    );
    for words in [
        &["-c", "other.yaml", "show", "events"][..],
        &["show", "-c", "other.yaml", "events"],
        &["show", "events", "--config-file", "other.yaml"],
        &["show", "events", "--config-file=other.yaml", "--no-color"],
        &["wait", "events", "--config-file", "other.yaml"],
    ] {
        bench
            .run(words)
            .assert_code(0)
            .assert_stdout(&["measure", "Wait"]);
    }
    for words in [
        &["-c", "two.yaml", "-n", "left", "show", "connectors"][..],
        &["show", "-c", "two.yaml", "-n", "left", "connectors"],
        &["-c", "two.yaml", "show", "connectors", "--name", "left"],
    ] {
        let ended = bench.run(words);
        ended.assert_code(0).assert_stdout(&["left\n", "wait"]);
        assert!(!ended.stdout.contains("right"), "{ended}");
    }
    // Where the command has a meaning of its own, that holds.
    bench
        .run(&["-c", "other.yaml", "show", "events", "-c"])
        .assert_code(0)
        .assert_stdout(&["CONNECTOR", "EVENTS"]);
    for words in [
        &["-c", "two.yaml", "-n", "nope", "list"][..],
        &["-c", "two.yaml", "list", "--name", "nope"],
    ] {
        bench
            .run(words)
            .assert_code(2)
            .assert_stderr(&["No servo was found named \"nope\""]);
    }
    bench
        .run(&["list", "--limit", "0"])
        .assert_code(2)
        .assert_stderr(&["'0' is not a number of at least 1"]);
    for words in [
        &["-l", "bogus", "version"][..],
        &["version", "--log-level", "bogus"],
    ] {
        bench
            .run(words)
            .assert_code(2)
            .assert_stderr(&["invalid log level 'bogus'"]);
    }
    bench
        .run(&["-l", "debug", "-c", "two.yaml", "list"])
        .assert_code(0);
}

#[test]
fn no_colours_where_none_are_wanted() {
    let bench = Bench::new();
    bench.write("servo.yaml", &embedded("one"));
    for colour in ["foo", "0", ""] {
        let mut command = bench.servo(&["-l", "trace", "list"]);
        command.env("NO_COLOR", colour);
        let ended = crate::bench::Running::start(command).ended(Duration::from_secs(60));
        ended.assert_code(0).assert_stdout(&["one"]);
        assert!(!ended.stdout.contains('\u{1b}'), "{ended}");
        assert!(!ended.stderr.contains('\u{1b}'), "{ended}");
    }
}

/// As when `head` has read enough.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let bench = Bench::new();
    bench.write("servo.yaml", &embedded("one"));
    for words in [
        &["--help"][..],
        &["version"],
        &["list"],
        &["schema"],
        &["schema", "vegeta"],
        &["config"],
        &["completions", "bash"],
        &["vegeta"],
        &["describe"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = bench.servo(words);
        let ended = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(|child| child.wait_with_output())
            .expect("it runs");
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(0), "{words:?}: {stderr}");
        assert_eq!(stderr, "", "{words:?}");
    }
}

#[test]
fn completions() {
    let bench = Bench::new();
    // Whatever the configuration is.
    bench.write(".env", "=");
    bench.write("servo.toml", "nothing valid");
    for (shell, part) in [
        ("bash", "complete -F _servo"),
        ("zsh", "#compdef servo"),
        ("fish", "complete -c servo"),
        ("powershell", "Register-ArgumentCompleter"),
        ("pwsh", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[servo]"),
    ] {
        let ended = bench.run(&["completions", shell]);
        ended.assert_code(0).assert_stdout(&["attack", "measure"]);
        if shell != "bash" {
            ended.assert_stdout(&[part]);
        }
        assert_eq!(
            bench.run(&["--show-completion", shell]).stdout,
            ended.stdout
        );
    }
    let of = |shell: &str, option: &str| {
        let mut command = bench.servo(&[option]);
        command
            .env("SHELL", shell)
            .env("HOME", bench.path("home"))
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME");
        crate::bench::Running::start(command).ended(Duration::from_secs(60))
    };
    of("/usr/bin/fish", "--show-completion")
        .assert_code(0)
        .assert_stdout(&["complete -c servo"]);
    of("/bin/true", "--show-completion")
        .assert_code(2)
        .assert_stderr(&["/bin/true", "servo completions"]);
    for (shell, file) in [
        ("bash", ".local/share/bash-completion/completions/servo"),
        ("zsh", ".local/share/zsh/site-functions/_servo"),
        ("fish", ".config/fish/completions/servo.fish"),
    ] {
        of(&format!("/bin/{shell}"), "--install-completion")
            .assert_code(0)
            .assert_stdout(&[file]);
        let installed = fs::read_to_string(bench.path("home").join(file)).expect("it is there");
        assert_eq!(installed, bench.run(&["completions", shell]).stdout);
    }
    of("/usr/bin/pwsh", "--install-completion")
        .assert_code(2)
        .assert_stderr(&["servo completions powershell"]);
}

#[test]
fn manual_pages() {
    let bench = Bench::new();
    bench.run(&["man-pages", "share/man1"]).assert_code(0);
    for (page, parts) in [
        ("servo.1", &["config\\-file", "SERVO_CONFIG_FILE"][..]),
        ("servo-show-events.1", &["by\\-connector"]),
        ("servo-vegeta-attack.1", &["duration"]),
    ] {
        let text = fs::read_to_string(bench.path("share/man1").join(page)).expect(page);
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    bench.write("file", "");
    bench
        .run(&["man-pages", "file/below"])
        .assert_code(1)
        .assert_stderr(&["cannot make file/below"]);
}
