//! Supervision of actix actors: restarts, liveness, ordered shutdown, a tree to look at.
//!
//! A [`Supervisor`] owns the [`ChildSpec`]s of its children: how to make each actor, when to restart it, how long its
//! work and its stop may take. It learns every end of a child with its cause, an [`Exit`], and acts on it: restart after
//! a jittered [`Backoff`], park it, or give itself up to its own supervisor. Everybody else holds a [`ChildRef`], which
//! survives the restarts and turns every way in which an answer can fail to come into an [`AskError`], at once.
//!
//! ```
//! use std::time::Duration;
//! use actix::{Actor, Context, Handler, Message};
//! use servo_supervision::{ChildContext, ChildSpec, Root, Supervised, install_panic_hook};
//!
//! struct Greeter { context: ChildContext }
//! impl Actor for Greeter { type Context = Context<Self>; }
//! impl Supervised for Greeter {}
//!
//! #[derive(Message)]
//! #[rtype(result = "String")]
//! struct Greet(&'static str);
//!
//! impl Handler<Greet> for Greeter {
//!     type Result = String;
//!     fn handle(&mut self, Greet(who): Greet, _: &mut Context<Self>) -> String {
//!         let _turn = self.context.turn("greet");
//!         assert!(!who.is_empty(), "nobody to greet");
//!         format!("hello {who}, from {}", self.context.path())
//!     }
//! }
//!
//! # actix::System::new().block_on(async {
//! install_panic_hook();
//! let greeter = ChildSpec::new("greeter", |context| Ok(Greeter { context }));
//! let reference = greeter.reference();
//! let root = Root::start("app", move |children| {
//!     children.start(greeter.clone());
//!     Ok(())
//! });
//!
//! let second = Duration::from_secs(1);
//! reference.wait_until_up(second).await.unwrap();
//! assert_eq!(reference.ask(Greet("you"), second).await.unwrap(), "hello you, from app/greeter");
//!
//! let error = reference.ask(Greet(""), second).await.unwrap_err();
//! assert!(error.to_string().contains("nobody to greet"));
//! reference.wait_until_up(second).await.unwrap();
//! assert_eq!(reference.status().restarts, 1);
//!
//! println!("{}", root.snapshot());
//! root.shutdown(second).await.unwrap();
//! # });
//! ```
//!
//! # What an actor must do
//!
//! - Open a [`Turn`](ChildContext::turn) around each piece of work that awaits something, and
//!   [`protect`](Turn::protect) it before a legal long wait. An actor that never opens one is never found stuck.
//! - Await inside its own context: actor futures, not `ResponseFuture`. See [`Supervised`].
//! - Never block its arbiter. One that does is found out if it lives in [`Arbiters`].
//! - End by [`fail`](ChildContext::fail) and `ctx.stop()` when it cannot go on. No code of it but `Drop` runs after a
//!   panic or a kill: what must be undone outside the process has to be found and undone by the next run.
//!
//! # What this crate knows, and what it must not know
//!
//! It knows actors, time and threads. It knows nothing of what the actors do: no configuration, no protocol, no name
//! of any kind of child. It writes to no terminal and ends no process; it reports by `tracing` events and values.

mod alarm;
mod arbiters;
mod backoff;
mod child;
mod commands;
mod counts;
mod deadline;
mod exit;
mod life;
mod lock;
mod node;
mod ordered;
mod panics;
mod reference;
mod restart;
mod root;
mod runner;
mod supervisor;
mod tree;
mod ward;

pub use arbiters::Arbiters;
pub use backoff::{Backoff, InvalidBackoff};
pub use child::{ChildSpec, Placement, Supervised};
pub use commands::SuperviseError;
pub use counts::{RestartCounts, restarts};
pub use exit::Exit;
pub use life::{ChildContext, Turn};
pub use node::{State, Status, StopOrder};
pub use panics::install_panic_hook;
pub use reference::{AskError, ChildRef};
pub use restart::{Exhausted, Intensity, InvalidIntensity, Restart};
pub use root::{Root, ShutdownOverrun};
pub use supervisor::{Children, Escalated, Supervisor};
pub use tree::Snapshot;

/// Any error, as factories and actors give it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
