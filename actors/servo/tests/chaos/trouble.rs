//! A connector that panics, fails or hangs when its world is in trouble.

use std::{
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_dispatch::{
    BoxError, ConfiguredConnector, Connector, ConnectorContext, ConnectorType, HandlerContext,
    Measure, Metadata, On, Routes,
};
use servo_messages::{EventError, Measurement};

/// Whether connectors are in trouble, and what they have met.
#[derive(Clone)]
pub(crate) struct Trouble(Arc<World>);

struct World {
    work: Duration,
    reigns: AtomicBool,
    dice: AtomicU64,
    panics: AtomicU64,
    failures: AtomicU64,
    hangs: AtomicU64,
}

/// How often what happened.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) panics: u64,
    pub(crate) failures: u64,
    pub(crate) hangs: u64,
}

static WORLD: LazyLock<Mutex<Option<Arc<World>>>> = LazyLock::new(Mutex::default);

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WorkConfig {
    peaceful: bool,
}

pub(crate) struct Work {
    peaceful: bool,
    world: Arc<World>,
}

impl Trouble {
    pub(crate) fn new(work: Duration) -> Self {
        let world = Arc::new(World {
            work,
            reigns: AtomicBool::new(false),
            dice: AtomicU64::new(0x2545_f491_4f6c_dd1d),
            panics: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            hangs: AtomicU64::new(0),
        });
        *WORLD.lock().unwrap() = Some(world.clone());
        Self(world)
    }

    pub(crate) fn connector(&self, peaceful: bool) -> Arc<dyn ConfiguredConnector> {
        ConnectorType::configured::<Work>(WorkConfig { peaceful })
    }

    pub(crate) fn begin(&self) {
        self.0.reigns.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.0.reigns.store(false, Ordering::SeqCst);
    }

    pub(crate) fn met(&self) -> Met {
        Met {
            panics: self.0.panics.load(Ordering::Relaxed),
            failures: self.0.failures.load(Ordering::Relaxed),
            hangs: self.0.hangs.load(Ordering::Relaxed),
        }
    }
}

impl World {
    /// The same numbers in every run, though not to the same connectors.
    fn roll(&self) -> u64 {
        let mut dice = self
            .dice
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        dice = (dice ^ (dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        dice = (dice ^ (dice >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        dice ^ (dice >> 31)
    }
}

impl Connector for Work {
    type Config = WorkConfig;

    const METADATA: Metadata = Metadata::new("work", "Work", "0.1.0");

    fn build(config: Arc<WorkConfig>, _: ConnectorContext) -> Result<Self, BoxError> {
        Ok(Self {
            peaceful: config.peaceful,
            world: WORLD.lock().unwrap().clone().unwrap(),
        })
    }

    fn routes(_: &WorkConfig, routes: &mut Routes<Self>) {
        routes.on::<Measure>();
    }
}

impl On<Measure> for Work {
    async fn on(&self, _: &Measure, cx: &HandlerContext) -> Result<Measurement, EventError> {
        let world = &*self.world;
        let luck = if self.peaceful || !world.reigns.load(Ordering::SeqCst) {
            1_000
        } else {
            world.roll() % 1_000
        };
        // Not all of them at once.
        let half = world.work / 2;
        cx.sleep(half + half.mul_f64((world.roll() % 1_000) as f64 / 1_000.0))
            .await?;
        match luck {
            0..60 => {
                world.panics.fetch_add(1, Ordering::Relaxed);
                panic!("lost my way")
            }
            60..120 => {
                world.failures.fetch_add(1, Ordering::Relaxed);
                Err(EventError::failed("could not"))
            }
            120..150 => {
                world.hangs.fetch_add(1, Ordering::Relaxed);
                std::future::pending().await
            }
            _ => Ok(Measurement::default()),
        }
    }
}
