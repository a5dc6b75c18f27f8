//! Set-up and tear-down around handlers (`spec/events-and-checks.md` §7, item 10).

use std::{fmt, sync::Arc};

use futures_util::FutureExt;
use servo_dispatch::{
    After, Around, Before, BeforeError, Category, DispatchOptions, Event, EventResult,
    HandlerContext, On, Surrounded,
};
use servo_messages::EventError;

use crate::troupe::{Actor, Play, Troupe, World, answer, fail, obeys, only_failures, panics};

/// A play under light, that is switched on and off again.
#[derive(Clone)]
pub(crate) struct Lit {
    play: Play,
    colour: &'static str,
    world: Arc<World>,
    set_up: Result<(), EventError>,
    tear_down: Result<(), EventError>,
}

/// Says when it is gone.
pub(crate) struct Lamp {
    of: String,
    world: Arc<World>,
}

impl fmt::Debug for Lit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lit({})", self.colour)
    }
}

impl Drop for Lamp {
    fn drop(&mut self) {
        self.world.note(format!("{} lamp gone", self.of));
    }
}

impl Event for Lit {
    type Output = u64;
    const NAME: &'static str = "lit";
    const CATEGORY: Category = Category::Custom;
    const AROUND: Option<Around<Self>> = Some(Around::EACH_HANDLER);
}

impl Surrounded for Lit {
    type Setting = Lamp;

    async fn set_up(&self, cx: &HandlerContext) -> Result<Lamp, EventError> {
        let of = cx.connector().to_owned();
        self.world
            .note(format!("{of} {}: {} on", cx.stage(), self.colour));
        self.set_up.clone().map(|()| Lamp {
            of,
            world: self.world.clone(),
        })
    }

    async fn tear_down(&self, lamp: Lamp, cx: &HandlerContext) -> Result<(), EventError> {
        tokio::task::yield_now().await;
        let told = if cx.is_cancelled() {
            ", told to stop"
        } else {
            ""
        };
        self.world.note(format!(
            "{} {}: {} off{told}",
            lamp.of,
            cx.stage(),
            self.colour
        ));
        self.tear_down.clone()
    }
}

impl Before<Lit> for Actor {
    async fn before(&self, _: &Lit, cx: &HandlerContext) -> Result<(), BeforeError> {
        self.world.note(format!("{} before", cx.connector()));
        Ok(())
    }
}

impl On<Lit> for Actor {
    async fn on(&self, lit: &Lit, cx: &HandlerContext) -> Result<u64, EventError> {
        self.world.note(format!("{} plays", cx.connector()));
        let number = lit.play.perform(cx, Some(0)).await;
        Ok(number.map_err(only_failures)?.unwrap_or(0))
    }
}

impl After<Lit> for Actor {
    async fn after(&self, _: &[EventResult<u64>], cx: &HandlerContext) -> Result<(), EventError> {
        self.world.note(format!("{} after", cx.connector()));
        Ok(())
    }
}

fn lit(troupe: &Troupe, play: Play) -> Lit {
    Lit {
        play,
        colour: "blue",
        world: troupe.world.clone(),
        set_up: Ok(()),
        tear_down: Ok(()),
    }
}

async fn told(troupe: &Troupe, lit: Lit) -> (Result<Vec<u64>, String>, Vec<String>) {
    let outcome = troupe
        .dispatcher
        .dispatch(lit, DispatchOptions::default())
        .await;
    let outcome = outcome.map(|o| o.values().collect());
    let happened = troupe.world.happened();
    (outcome.map_err(|e| e.to_string()), happened)
}

#[actix_rt::test]
async fn it_surrounds_the_handlers_of_the_event_itself() {
    let troupe = Troupe::of(&["a"]).await;
    let outcome = told(&troupe, lit(&troupe, Play::new().on("a", answer(3)))).await;
    assert_eq!(outcome.0, Ok(vec![3]));
    assert_eq!(
        outcome.1,
        [
            "a before",
            "a on: blue on",
            "a plays",
            "a on: blue off",
            "a lamp gone",
            "a after"
        ]
    );
}

#[actix_rt::test]
async fn it_is_torn_down_behind_a_handler_that_fails() {
    let troupe = Troupe::of(&["a"]).await;
    let play = Play::new().on("a", fail(EventError::failed("forgot the words")));
    let (outcome, happened) = told(&troupe, lit(&troupe, play)).await;
    assert_eq!(outcome, Err("a: forgot the words".to_owned()));
    assert_eq!(
        happened,
        [
            "a before",
            "a on: blue on",
            "a plays",
            "a on: blue off",
            "a lamp gone"
        ]
    );
}

#[actix_rt::test]
async fn it_is_torn_down_behind_a_handler_that_is_cancelled() {
    let troupe = Troupe::of(&["a", "b"]).await;
    let play = Play::new().on("a", obeys).on("b", |cx| {
        async move {
            cx.sleep(std::time::Duration::from_millis(10)).await?;
            Err(EventError::failed("fell ill").into())
        }
        .boxed_local()
    });
    let (outcome, happened) = told(&troupe, lit(&troupe, play)).await;
    assert_eq!(outcome, Err("b: fell ill".to_owned()));
    let of_a: Vec<&String> = happened.iter().filter(|h| h.starts_with("a ")).collect();
    assert_eq!(
        of_a,
        [
            "a before",
            "a on: blue on",
            "a plays",
            "a on: blue off, told to stop",
            "a lamp gone"
        ]
    );
}

#[actix_rt::test]
async fn a_set_up_that_fails_is_the_handlers_failure() {
    let troupe = Troupe::of(&["a"]).await;
    let lit = Lit {
        set_up: Err(EventError::aborted("dark", "no current")),
        ..lit(&troupe, Play::new())
    };
    let (outcome, happened) = told(&troupe, lit).await;
    assert_eq!(outcome, Err("a: no current".to_owned()));
    assert_eq!(happened, ["a before", "a on: blue on"]);
}

#[actix_rt::test]
async fn a_tear_down_that_fails_turns_a_success_into_an_error_and_hides_none() {
    let troupe = Troupe::of(&["a"]).await;
    let glows_on = Err(EventError::failed("glows on"));
    let good = Lit {
        tear_down: glows_on.clone(),
        ..lit(&troupe, Play::new())
    };
    let (outcome, happened) = told(&troupe, good).await;
    assert_eq!(outcome, Err("a: glows on".to_owned()));
    assert!(!happened.contains(&"a after".to_owned()), "{happened:?}");
    let bad = Lit {
        tear_down: glows_on,
        ..lit(
            &troupe,
            Play::new().on("a", fail(EventError::failed("fell"))),
        )
    };
    assert_eq!(told(&troupe, bad).await.0, Err("a: fell".to_owned()));
    let logged = crate::log::written();
    assert!(
        logged.iter().any(|line| line
            .to_string()
            .contains("after the handler had failed, its tear-down failed, too: glows on")),
        "{logged:?}"
    );
}

#[actix_rt::test]
async fn of_a_handler_that_panics_the_setting_is_dropped() {
    let troupe = Troupe::of(&["a"]).await;
    let (outcome, happened) = told(&troupe, lit(&troupe, Play::new().on("a", panics))).await;
    assert!(outcome.is_err());
    assert_eq!(
        happened,
        ["a before", "a on: blue on", "a plays", "a lamp gone"]
    );
}
