//! Messages on their way through the transformers, one at a time.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{runtime::Handle, task::AbortHandle};

use super::{
    channel::Exchange,
    core::{Core, Courtesy, Lane, Obstacle},
    message::{Delivery, Message},
    selector::Selector,
    transform::{Flow, Outbox, Sources, Transformer},
};

/// How many messages may wait for the transformers. Those that transformers make themselves may
/// take up as much again.
const CAPACITY: usize = 1024;
/// By how many transformers a message may be derived, one from the other.
pub(crate) const MAX_HOPS: u8 = 16;
/// How long a transformer may work on one message.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Pipeline {
    stages: Arc<[Arc<StageSlot>]>,
    waiting: VecDeque<(Arc<Lane>, Delivery)>,
    /// The runtime that works it off; there is one as soon as there is a transformer.
    runtime: Option<Handle>,
    is_worked_off: bool,
}

/// One transformer in its place.
pub(crate) struct StageSlot {
    pub(crate) id: u64,
    name: Arc<str>,
    sources: Sources,
    /// The connector that added it.
    connector: Option<Arc<str>>,
    transformer: tokio::sync::Mutex<Box<dyn Transformer>>,
    timer: std::sync::OnceLock<AbortHandle>,
}

// === impl Pipeline ===

impl Pipeline {
    pub(crate) fn is_needed(&self) -> bool {
        !self.stages.is_empty() || !self.is_idle()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.is_worked_off
    }

    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < CAPACITY
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn stages(&self) -> usize {
        self.stages.len()
    }

    pub(crate) fn push(
        &mut self,
        core: &Arc<Core>,
        lane: &Arc<Lane>,
        delivery: Delivery,
    ) -> Result<(), Obstacle> {
        if !self.has_room() {
            return Err(Obstacle::Pipeline);
        }
        self.enqueue(core, lane.clone(), delivery);
        Ok(())
    }

    fn enqueue(&mut self, core: &Arc<Core>, lane: Arc<Lane>, delivery: Delivery) {
        self.waiting.push_back((lane, delivery));
        if self.is_worked_off {
            return;
        }
        if let Some(runtime) = Handle::try_current().ok().or_else(|| self.runtime.clone()) {
            self.is_worked_off = true;
            runtime.spawn(work_off(WorkedOff {
                core: core.clone(),
                told: false,
            }));
        }
    }

    pub(crate) fn insert(
        &mut self,
        core: &Arc<Core>,
        index: usize,
        stage: Arc<StageSlot>,
        runtime: Handle,
    ) {
        let mut stages = self.stages.to_vec();
        stages.insert(index.min(stages.len()), stage);
        self.stages = stages.into();
        self.runtime = Some(runtime);
        core.piped.store(true, Ordering::Release);
    }

    pub(crate) fn remove(&mut self, core: &Core, id: u64) -> bool {
        let (gone, stay): (Vec<_>, Vec<_>) = self.stages.iter().cloned().partition(|s| s.id == id);
        self.stages = stay.into();
        for stage in &gone {
            stage.stop();
        }
        core.piped.store(self.is_needed(), Ordering::Release);
        !gone.is_empty()
    }

    /// Drops all that it has; says how many messages.
    pub(crate) fn clear(&mut self, core: &Core) -> usize {
        for stage in std::mem::take(&mut self.stages).iter() {
            stage.stop();
        }
        let lost = std::mem::take(&mut self.waiting).len();
        core.piped.store(self.is_needed(), Ordering::Release);
        lost
    }
}

// === impl StageSlot ===

impl StageSlot {
    pub(crate) fn new(
        id: u64,
        transformer: Box<dyn Transformer>,
        connector: Option<Arc<str>>,
    ) -> Self {
        Self {
            id,
            name: transformer.name().into(),
            sources: transformer.sources(),
            connector,
            transformer: tokio::sync::Mutex::new(transformer),
            timer: std::sync::OnceLock::new(),
        }
    }

    /// Has its timer run, if it wants one.
    pub(crate) fn start(self: &Arc<Self>, core: &Arc<Core>, runtime: &Handle) {
        let wants_timer = self
            .transformer
            .try_lock()
            .is_ok_and(|transformer| transformer.due().is_some());
        if wants_timer {
            let timer = runtime.spawn(tick(Arc::downgrade(core), self.clone()));
            let _ = self.timer.set(timer.abort_handle());
        }
    }

    fn stop(&self) {
        if let Some(timer) = self.timer.get() {
            timer.abort();
        }
    }

    /// Works on one message: it goes on, unless this says otherwise.
    async fn apply(&self, delivery: Delivery, out: &mut Outbox) -> Option<Delivery> {
        let mut transformer = self.transformer.lock().await;
        let work = transformer.apply(&delivery, out);
        let work = tokio::time::timeout(PATIENCE, AssertUnwindSafe(work).catch_unwind());
        let (transformer, channel) = (&*self.name, delivery.channel());
        let failure = match work.await {
            Ok(Ok(Ok(Flow::Pass))) => return Some(delivery),
            Ok(Ok(Ok(Flow::Replace(mut message)))) => {
                message.stamp_like(&delivery);
                return Some(Delivery::new(channel.clone(), message));
            }
            Ok(Ok(Ok(Flow::Drop))) => {
                // The peer's spelling, which people search their logs for.
                tracing::warn!(%channel, "Transfomer {transformer} cancelled delivery of message");
                return None;
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(panic)) => format!("it panicked: {}", text_of(&*panic)),
            Err(_) => format!("it did not finish within {} s", PATIENCE.as_secs()),
        };
        tracing::error!(
            transformer,
            %channel,
            error = failure,
            "transformer {transformer} failed: dropped the message"
        );
        None
    }
}

/// Tells a pipeline that nobody works it off any more, whatever ended that.
struct WorkedOff {
    core: Arc<Core>,
    /// It knows already.
    told: bool,
}

impl Drop for WorkedOff {
    fn drop(&mut self) {
        if self.told {
            return;
        }
        let core = &self.core;
        let mut state = core.state();
        state.pipeline.is_worked_off = false;
        core.piped
            .store(state.pipeline.is_needed(), Ordering::Release);
        core.pipeline_room.notify_waiters();
        core.quiet.notify_waiters();
    }
}

/// Works off the pipeline until it is empty.
async fn work_off(mut work: WorkedOff) {
    let core = work.core.clone();
    let core = &core;
    loop {
        let (stages, lane, delivery) = {
            let mut state = core.state();
            let Some((lane, delivery)) = state.pipeline.waiting.pop_front() else {
                // Under the lock: what comes next finds it idle.
                state.pipeline.is_worked_off = false;
                core.piped
                    .store(state.pipeline.is_needed(), Ordering::Release);
                break;
            };
            (state.pipeline.stages.clone(), lane, delivery)
        };
        core.pipeline_room.notify_waiters();
        transport(core, &stages, &lane, delivery).await;
        tokio::task::coop::consume_budget().await;
    }
    work.told = true;
    core.quiet.notify_waiters();
}

async fn transport(
    core: &Arc<Core>,
    stages: &[Arc<StageSlot>],
    lane: &Arc<Lane>,
    delivery: Delivery,
) {
    let mut derived = Vec::new();
    let mut left = Some(delivery);
    for stage in stages {
        let Some(delivery) = left.take() else { break };
        if !stage.sources.include(delivery.channel()) {
            left = Some(delivery);
            continue;
        }
        let mut out = Outbox::default();
        let origin = (delivery.hops(), delivery.connector().cloned());
        left = stage.apply(delivery, &mut out).await;
        let made = out.0.into_iter();
        derived.extend(
            made.map(|(channel, message)| (stage.clone(), origin.clone(), channel, message)),
        );
    }
    if let Some(delivery) = left {
        deliver(core, lane, &delivery).await;
    }
    for (stage, (hops, connector), channel, message) in derived {
        let hops = hops.max(message.hops());
        publish_derived(core, &stage, hops, connector.as_ref(), channel, message);
    }
}

async fn deliver(core: &Core, lane: &Lane, delivery: &Delivery) {
    if let Err(error) = lane.accepts(delivery) {
        tracing::error!(channel = %lane.name, %error, "a transformer changed the type of a message: dropped it");
        return;
    }
    let mut courtesy = Courtesy::Wait;
    while let Err(Obstacle::Subscriber(queue, patience)) = core.deliver(lane, delivery, courtesy) {
        queue.wait_for_room(patience).await;
        if queue.holds_up().is_some() {
            courtesy = Courtesy::Force;
        }
    }
}

/// Sends what a transformer made into the pipeline, behind what waits there already.
fn publish_derived(
    core: &Arc<Core>,
    stage: &StageSlot,
    hops: u8,
    connector: Option<&Arc<str>>,
    channel: super::ChannelName,
    mut message: Message,
) {
    let (transformer, hops) = (&*stage.name, hops.saturating_add(1));
    if hops >= MAX_HOPS {
        tracing::error!(
            transformer,
            %channel,
            hops,
            "dropped a message of transformer {transformer}: it goes round in circles"
        );
        return;
    }
    message.stamp(&core.servo, stage.connector.as_ref().or(connector), hops);
    let lane = Exchange::lane(core, channel, None);
    if lane.is_closed() {
        tracing::warn!(
            transformer,
            channel = %lane.name,
            "dropped a message of transformer {transformer}: its channel is closed"
        );
        return;
    }
    if let Err(error) = lane.accepts(&message) {
        tracing::error!(transformer, channel = %lane.name, %error, "dropped a message of transformer {transformer}");
        return;
    }
    let delivery = Delivery::new(lane.name.clone(), message);
    let mut state = core.state();
    if state.pipeline.waiting.len() >= 2 * CAPACITY {
        drop(state);
        tracing::error!(
            transformer,
            channel = %lane.name,
            "dropped a message of transformer {transformer}: {} wait already",
            2 * CAPACITY
        );
        return;
    }
    state.pipeline.enqueue(core, lane, delivery);
}

/// The timer of one transformer.
async fn tick(core: Weak<Core>, stage: Arc<StageSlot>) {
    loop {
        let Some(due) = stage.transformer.lock().await.due() else {
            return;
        };
        tokio::time::sleep_until(due).await;
        let mut out = Outbox::default();
        {
            let mut transformer = stage.transformer.lock().await;
            // It may have published meanwhile by itself.
            if transformer
                .due()
                .is_some_and(|due| due > tokio::time::Instant::now())
            {
                continue;
            }
            let ticked = std::panic::catch_unwind(AssertUnwindSafe(|| transformer.tick(&mut out)));
            if let Err(panic) = ticked {
                let (transformer, error) = (&*stage.name, text_of(&*panic));
                tracing::error!(
                    transformer,
                    error,
                    "the timer of transformer {transformer} panicked"
                );
            }
        }
        let Some(core) = core.upgrade() else { return };
        for (channel, message) in out.0 {
            let hops = message.hops();
            publish_derived(&core, &stage, hops, None, channel, message);
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "with a value that is no text".to_owned()
    }
}

// === impl Sources ===

impl Sources {
    fn include(&self, channel: &super::ChannelName) -> bool {
        match self {
            Self::All => true,
            Self::Only(selectors) => matches_any(selectors, channel),
            Self::AllBut(names) => !names.contains(channel),
        }
    }
}

fn matches_any(selectors: &[Selector], channel: &super::ChannelName) -> bool {
    selectors.iter().any(|s| s.matches(channel.as_str()))
}
