//! A headless Chromium, spoken to over its DevTools pipe.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::bench::{Bench, SOON, wait};

/// A browser with one tab.
pub(super) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    asked: u64,
    complaints: Vec<String>,
    // Its directory is the browser's, and what is left of the browser ends with it.
    _bench: Bench,
}

/// Browsers as Debian and others call them.
const NAMES: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

impl Browser {
    /// The program, where there is one.
    pub(super) fn find() -> Option<PathBuf> {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .flat_map(|folder| NAMES.map(|name| folder.join(name)))
            .find(|program| program.is_file())
    }

    pub(super) fn start(program: &Path) -> Self {
        let bench = Bench::new();
        // Its pipe are the file descriptors 3 and 4.
        let mut command = bench.command("sh");
        command
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 >&2 </dev/null"])
            .arg(program)
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--window-size=1440,900",
            ])
            .arg(format!(
                "--user-data-dir={}",
                bench.path("profile").display()
            ))
            .env("HOME", bench.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (to, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, from) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            session: None,
            asked: 0,
            complaints: Vec::new(),
            _bench: bench,
        };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", target);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Has the browser do something.
    #[track_caller]
    pub(super) fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        self.to.flush().unwrap();
        let until = Instant::now() + SOON;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut answer = match self.from.recv_timeout(left) {
                Ok(answer) => answer,
                Err(error) => panic!("{method}: {error}"),
            };
            if answer["id"] == id {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.listen(&answer);
        }
    }

    /// What the page does not do when all is well.
    fn listen(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints
                    .push(parameters["exceptionDetails"].to_string());
            }
            Some("Page.javascriptDialogOpening") => self.complaints.push(parameters.to_string()),
            // A request that fails is the test's own doing.
            Some("Log.entryAdded") if parameters["entry"]["source"] != "network" => {
                self.complaints.push(parameters["entry"].to_string());
            }
            Some("Network.requestWillBeSent") => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                if !url.starts_with("http://127.0.0.1:") && !url.starts_with("about:") {
                    self.complaints.push(format!("asks for {url}"));
                }
            }
            _ => {}
        }
    }

    /// Goes to an address.
    #[track_caller]
    pub(super) fn open(&mut self, url: &str) {
        // The same page with something else behind # would not be loaded anew.
        self.ask("Page.navigate", json!({"url": "about:blank"}));
        let went = self.ask("Page.navigate", json!({"url": url}));
        assert!(went.get("errorText").is_none(), "{url}: {went}");
    }

    /// The value of an expression of the page.
    #[track_caller]
    pub(super) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.ask("Runtime.evaluate", asked);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].take()
    }

    /// Waits until an expression of the page is true.
    #[track_caller]
    pub(super) fn until(&mut self, expression: &str) {
        self.until_is(&format!("Boolean({expression})"), true);
    }

    /// Waits until an expression of the page has a value.
    #[track_caller]
    pub(super) fn until_is(&mut self, expression: &str, expected: impl Into<Value>) {
        let expected = expected.into();
        // While the page is being left, nothing of it has a value.
        let careful =
            format!("(() => {{ try {{ return {expression}; }} catch {{ return null; }} }})()");
        let until = Instant::now() + SOON;
        loop {
            let value = self.value(&careful);
            if value == expected {
                return;
            }
            if Instant::now() > until {
                let page = self.value("document.body.innerText");
                panic!(
                    "{expression} is {value}, not {expected}; complaints: {:?}; the page:\n{}",
                    self.complaints,
                    page.as_str().unwrap_or_default()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Presses and releases a key.
    #[track_caller]
    pub(super) fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowUp" => 38,
            "ArrowDown" => 40,
            _ => 0,
        };
        let text = match key {
            "Enter" => Some("\r"),
            key if key.chars().count() == 1 => Some(key),
            _ => None,
        };
        let mut down = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code});
        if let Some(text) = text {
            down["text"] = text.into();
        }
        self.ask("Input.dispatchKeyEvent", down);
        self.ask(
            "Input.dispatchKeyEvent",
            json!({"type": "keyUp", "key": key, "windowsVirtualKeyCode": code}),
        );
    }

    /// Types a text.
    #[track_caller]
    pub(super) fn type_text(&mut self, text: &str) {
        self.ask("Input.insertText", json!({"text": text}));
    }

    /// Clicks in the middle of the element that an expression finds, once it stands still and nothing
    /// lies over it.
    #[track_caller]
    pub(super) fn click(&mut self, element: &str) {
        let look = format!(
            "(() => {{ const e = {element}; e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect(); const [x, y] = [r.x + r.width / 2, r.y + r.height / 2]; return [x, y, e.contains(document.elementFromPoint(x, y))]; }})()"
        );
        let mut place = self.value(&look);
        wait("an element that can be clicked", SOON, || {
            let before = std::mem::replace(&mut place, self.value(&look));
            (place == before && place[2] == true).then_some(())
        });
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.ask("Input.dispatchMouseEvent", event);
        }
    }

    /// The page threw nothing, broke no rule of its own, and asked nobody else.
    #[track_caller]
    pub(super) fn assert_no_complaints(&mut self) {
        // What it has to say is said before the answer to this.
        self.value("0");
        assert_eq!(self.complaints, Vec::<String>::new());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
