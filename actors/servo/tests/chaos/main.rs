//! A fleet in bad company: connectors panic, fail and hang, the optimizer refuses, stalls, talks nonsense, goes and
//! comes back; and no servo is lost, none of its commands, and the peaceful ones next door notice nothing.
//!
//! Takes about half a minute. `SERVO_CHAOS=minute` takes the whole: 1,000 servos in a minute of trouble (best with
//! `--release`).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fleet;
mod trouble;

use std::time::Duration;

use servo_doubles::{FleetFigures, Orders, Temper};

use crate::{
    fleet::{Fleet, PEACEFUL, resident},
    trouble::Trouble,
};

/// How large, and how long.
struct Scale {
    servos: usize,
    /// A connector's work for each command: what makes the load.
    work: Duration,
    quiet: Duration,
    trouble: Duration,
    chaos: Duration,
}

/// What a machine may take longer that compiles something else meanwhile.
const TOLERANCE: Duration = Duration::from_millis(250);

fn scale() -> Scale {
    let seconds = Duration::from_secs;
    if std::env::var_os("SERVO_CHAOS").is_some_and(|it| it == "minute") {
        Scale {
            servos: 1_000,
            work: seconds(1),
            quiet: seconds(15),
            trouble: seconds(25),
            chaos: seconds(35),
        }
    } else {
        Scale {
            servos: 300,
            work: seconds(1),
            quiet: seconds(4),
            trouble: seconds(5),
            chaos: seconds(6),
        }
    }
}

/// Lets time pass and tells what the optimizer saw meanwhile.
async fn watch(fleet: &Fleet, time: Duration) -> FleetFigures {
    fleet.optimizer.reset();
    tokio::time::sleep(time).await;
    fleet.optimizer.figures()
}

/// Waits until every servo has been heard and has completed a command in good order.
async fn all_well(fleet: &Fleet, what: &str) -> FleetFigures {
    fleet.optimizer.reset();
    let servos = fleet.servos;
    fleet
        .until(what, Duration::from_secs(60), |now| {
            now.connected == servos && now.fulfilled == servos
        })
        .await
}

#[test]
fn no_servo_and_no_command_is_lost_in_chaos() {
    actix::System::new().block_on(async {
        let scale = scale();
        let trouble = Trouble::new(scale.work);
        let fleet = Fleet::start(scale.servos, &trouble).await;

        // What it is like when all is well.
        all_well(&fleet, "the start").await;
        let quiet = watch(&fleet, scale.quiet).await;
        let before = resident();
        assert_eq!(quiet.not_ok + quiet.unexpected + quiet.asked_again, 0, "{quiet:?}");
        assert!(quiet.completed as usize > scale.servos, "{quiet:?}");

        // Every second servo has a bad time of it; the others must not notice.
        trouble.begin();
        let troubled = watch(&fleet, scale.trouble).await;
        let met = trouble.met();
        assert!(met.panics > 0 && met.failures > 0 && met.hangs > 0, "{met:?}");
        assert!(troubled.not_ok > 0, "{troubled:?}");
        assert!(
            troubled.p99 <= quiet.p99 * 2 + TOLERANCE,
            "{PEACEFUL} servos took {:?} for 99 of 100 commands, and {:?} while others were in trouble",
            quiet.p99,
            troubled.p99
        );
        // One whose commands all fail may say GOODBYE and HELLO again (`spec/optimizer-protocol.md` §13).
        assert_eq!(troubled.heard, scale.servos, "{troubled:?}");
        assert_eq!(troubled.unexpected, 0, "{troubled:?}");

        // Now the optimizer too.
        fleet.optimizer.treat(Temper::Moody { per_mille: 40 });
        let moody = watch(&fleet, scale.chaos / 2).await;
        assert!(moody.mishaps > 0, "{moody:?}");
        for temper in [Temper::Refusing(503), Temper::Babbling, Temper::Closing, Temper::Stalling] {
            fleet.optimizer.treat(temper);
            watch(&fleet, scale.chaos / 12).await;
        }
        fleet.optimizer.treat(Temper::Moody { per_mille: 40 });
        fleet.optimizer.vanish();
        watch(&fleet, scale.chaos / 6).await;
        fleet.optimizer.return_home();
        let end = watch(&fleet, scale.chaos / 6).await;
        assert!(
            end.most_in_flight <= fleet.most_requests,
            "more requests at a time than allowed: {end:?}"
        );

        // And all is as it was.
        trouble.end();
        fleet.optimizer.treat(Temper::Sound);
        all_well(&fleet, "the end of all trouble").await;
        let after = watch(&fleet, scale.quiet).await;
        assert_eq!(after.connected, scale.servos, "{after:?}");
        assert_eq!(after.known, scale.servos, "{after:?}");
        assert!(after.completed as usize > scale.servos / 2, "{after:?}");
        // A servo has one command at a time, and what was handed out is completed or asked for again: none is open
        // once the optimizer hands out no more and those at work are done.
        fleet.optimizer.order(Orders::Finish);
        fleet
            .until("the last completions", Duration::from_secs(30), |now| now.open == 0)
            .await;
        fleet.optimizer.order(Orders::Sleep(Duration::from_secs(60)));
        let grown = resident() as f64 / before as f64;
        assert!(grown < 1.3, "memory grew by a factor of {grown:.2} from {before} bytes");
        println!(
            "{} servos, {:?}; p99 of the peaceful {:?} and {:?}; {} mishaps in the moody part; RSS {:.0} MiB, times {grown:.2} at the end",
            scale.servos, trouble.met(), quiet.p99, troubled.p99, moody.mishaps, before as f64 / 1048576.0
        );
        fleet.end().await;
    });
}
