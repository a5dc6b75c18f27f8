//! Where the loops of a connector run: inside its actor, so that their panic is the connector's, and
//! so that they end with it.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use tokio::sync::Notify;

use super::tasks::{TaskHandle, TaskKind};
use crate::{
    context::CallShared,
    host::{Door, Errand, Host},
};

/// The connectors of one servo, as far as their loops are concerned.
#[derive(Default)]
pub(crate) struct Homes(Mutex<Vec<House>>);

struct House {
    connector: Arc<str>,
    door: Arc<dyn Door>,
    tenure: Tenure,
    /// Of a connector that never had a loop there is none.
    home: Option<Arc<Home>>,
}

/// How a connector belongs to its servo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// It has joined and is being brought up.
    New,
    /// It starts again when it fails.
    Settled,
    /// It is being removed.
    Leaving,
}

/// The loops of one connector.
#[derive(Default)]
pub(crate) struct Home {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    /// Counts the nurseries and the runs of the connector: what belongs to an earlier one is void.
    run: u64,
    /// There is one, or it is on its way.
    nursery: bool,
    newborn: Vec<Loop>,
    residents: BTreeMap<(TaskKind, Arc<str>), TaskHandle>,
}

/// Something that goes on until it is done, told to end, or its connector ends.
pub(crate) type Loop = Box<dyn FnOnce(Rc<Host>) -> LocalBoxFuture<'static, ()> + Send>;

/// Runs the loops of one run of a connector, inside its actor, as long as there are any.
struct Nursery {
    shared: CallShared,
    home: Arc<Home>,
    run: u64,
}

/// Tells a home that its nursery is gone, whatever ended it.
struct Gone {
    home: Arc<Home>,
    run: u64,
}

/// There is a loop of that name.
pub(crate) struct Occupied;

// === impl Homes ===

impl Homes {
    fn houses(&self) -> MutexGuard<'_, Vec<House>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connector has moved in.
    pub(crate) fn add(&self, connector: Arc<str>, door: Arc<dyn Door>, tenure: Tenure) {
        let mut houses = self.houses();
        houses.retain(|house| house.connector != connector);
        houses.push(House {
            connector,
            door,
            tenure,
            home: None,
        });
        houses.shrink_to_fit();
    }

    pub(crate) fn tenure(&self, connector: &str) -> Option<Tenure> {
        let houses = self.houses();
        let house = houses.iter().find(|house| &*house.connector == connector)?;
        Some(house.tenure)
    }

    /// Changes the tenure of a connector. Whether it was there, and not that already.
    pub(crate) fn settle(&self, connector: &str, tenure: Tenure) -> bool {
        let mut houses = self.houses();
        let mut found = houses.iter_mut();
        let Some(house) = found.find(|house| &*house.connector == connector) else {
            return false;
        };
        std::mem::replace(&mut house.tenure, tenure) != tenure
    }

    pub(crate) fn door(&self, connector: &str) -> Option<Arc<dyn Door>> {
        let houses = self.houses();
        let house = houses.iter().find(|house| &*house.connector == connector)?;
        Some(house.door.clone())
    }

    /// A connector has moved out.
    pub(crate) fn remove(&self, connector: &str) -> Option<Arc<dyn Door>> {
        let mut houses = self.houses();
        let at = houses
            .iter()
            .position(|house| &*house.connector == connector)?;
        Some(houses.remove(at).door)
    }

    /// A further run of the connector begins: whatever is left of the last one ends.
    pub(crate) fn begin(&self, connector: &str) {
        if let Some(home) = self.find(connector) {
            home.begin();
        }
    }

    pub(super) fn find(&self, connector: &str) -> Option<Arc<Home>> {
        let houses = self.houses();
        let house = houses.iter().find(|house| &*house.connector == connector)?;
        house.home.clone()
    }

    /// The connector's home, and the way to it; none if there is no such connector.
    pub(super) fn open(&self, connector: &str) -> Option<(Arc<Home>, Arc<dyn Door>)> {
        let mut houses = self.houses();
        let house = houses
            .iter_mut()
            .find(|house| &*house.connector == connector)?;
        let home = house.home.get_or_insert_default().clone();
        Some((home, house.door.clone()))
    }

    /// Ends the loops of these kinds, of the connectors that `whose` selects.
    pub(crate) fn end(&self, kinds: &[TaskKind], whose: impl Fn(&Arc<str>) -> bool) {
        let houses = self.houses();
        let chosen = houses.iter().filter(|house| whose(&house.connector));
        let homes: Vec<_> = chosen.filter_map(|house| house.home.clone()).collect();
        drop(houses);
        for home in homes {
            for handle in home.handles().values() {
                if kinds.contains(&handle.kind()) {
                    handle.cancel();
                }
            }
        }
    }
}

// === impl Home ===

impl Home {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        let left = {
            let mut state = self.state();
            state.run += 1;
            state.nursery = false;
            std::mem::take(&mut state.newborn)
        };
        // Outside of the lock: their guards run code of their own.
        drop(left);
    }

    /// Takes in a loop, unless a live one of its kind and name is there. `make` is given the one whose
    /// place it takes.
    pub(super) fn take_in(
        self: &Arc<Self>,
        door: Arc<dyn Door>,
        shared: impl FnOnce() -> CallShared,
        handle: &TaskHandle,
        make: impl FnOnce(Option<TaskHandle>) -> Loop,
    ) -> Result<(), Occupied> {
        let run = {
            let mut state = self.state();
            let key = (handle.kind(), handle.name().clone());
            if state.residents.get(&key).is_some_and(TaskHandle::is_live) {
                return Err(Occupied);
            }
            let previous = state.residents.insert(key, handle.clone());
            state.newborn.push(make(previous));
            if std::mem::replace(&mut state.nursery, true) {
                self.news.notify_one();
                return Ok(());
            }
            state.run += 1;
            state.run
        };
        let nursery = Arc::new(Nursery {
            shared: shared(),
            home: self.clone(),
            run,
        });
        let gone = Gone {
            home: self.clone(),
            run,
        };
        actix_rt::spawn(async move {
            // If the connector does not come up, or ends before it gets to the nursery.
            let _gone = gone;
            let _ = door.enter(nursery).await;
        });
        Ok(())
    }

    pub(super) fn handles(&self) -> BTreeMap<(TaskKind, Arc<str>), TaskHandle> {
        self.state().residents.clone()
    }

    pub(super) fn handle(&self, kind: TaskKind, name: &str) -> Option<TaskHandle> {
        self.state().residents.get(&(kind, name.into())).cloned()
    }

    /// Loops that wait to be begun; none if this run of the connector is not the present one.
    fn newborn(&self, run: u64) -> Option<Vec<Loop>> {
        let mut state = self.state();
        (state.run == run).then(|| std::mem::take(&mut state.newborn))
    }

    /// Says whether the nursery may close.
    fn close_nursery(&self, run: u64) -> bool {
        let mut state = self.state();
        if state.run == run && state.newborn.is_empty() {
            state.nursery = false;
        }
        state.run != run || !state.nursery
    }
}

// === impl Nursery ===

impl Errand for Nursery {
    fn shared(&self) -> &CallShared {
        &self.shared
    }

    fn run(self: Arc<Self>, host: Host) -> LocalBoxFuture<'static, ()> {
        Box::pin(async move {
            let (home, run) = (self.home.clone(), self.run);
            let _gone = Gone {
                home: home.clone(),
                run,
            };
            let host = Rc::new(host);
            let mut loops = FuturesUnordered::new();
            while let Some(newborn) = home.newborn(run) {
                loops.extend(newborn.into_iter().map(|begin| begin(host.clone())));
                if loops.is_empty() {
                    if home.close_nursery(run) {
                        return;
                    }
                    continue;
                }
                tokio::select! {
                    () = home.news.notified() => {}
                    _ = loops.next() => {}
                }
            }
        })
    }
}

impl Drop for Gone {
    fn drop(&mut self) {
        let left = {
            let mut state = self.home.state();
            if state.run != self.run {
                return;
            }
            state.nursery = false;
            std::mem::take(&mut state.newborn)
        };
        drop(left);
    }
}
