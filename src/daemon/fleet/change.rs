//! Servos that are added and removed while the program runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use servo_assembly::AssemblyError;
use tokio::time::timeout;

use super::{
    Affairs, ChangeError, Fleet, Inner, Removed,
    clients::studies_of,
    members::{Examiner, From, Member, shared_optimizer},
    reload::farewell,
    trial_file::TrialFile,
};
use crate::{
    config::{FileContents, OptimizerConfig, ServoConfig},
    daemon::{Unfit, logging::one_line},
};

/// What is said of a servo that was removed although the configuration has it.
pub const COMES_BACK: &str = "the configuration's file names it: the next reload brings it back, unless it is taken out there";

/// Of servos that are added at once, so many are named in the log.
const NAMED: usize = 10;

/// How long documents may take to be looked through, and the files that they name to be read.
const LOOKING: Duration = Duration::from_secs(30);

impl Fleet {
    /// Adds servos: documents as in `servo.yaml`, each with an optimizer of its own. All of them, or none.
    /// They run until they are removed or the program ends; a reload leaves them alone unless the file
    /// names one of them too. Returns their names.
    ///
    /// # Errors
    /// When anything is wrong with them, or a name or an optimizer is another servo's.
    pub async fn add(&self, yaml: &str) -> Result<Vec<Arc<str>>, ChangeError> {
        let Some(source) = self.0.source.clone() else {
            return Err(ChangeError::Failed(
                "this program reads no documents: it was started without a file of them".to_owned(),
            ));
        };
        let yaml = yaml.to_owned();
        let reading = self
            .0
            .runtime
            .spawn_blocking(move || source.documents(&yaml));
        let servos = match timeout(LOOKING, reading).await {
            Ok(Ok(read)) => read.map_err(ChangeError::Invalid)?,
            Ok(Err(error)) => return Err(ChangeError::Failed(error.to_string())),
            Err(_) => {
                return Err(ChangeError::Failed(format!(
                    "the documents could not be looked through within {LOOKING:?}"
                )));
            }
        };
        self.add_servos(servos).await
    }

    /// As [`Fleet::add`], of configurations.
    ///
    /// # Errors
    /// As [`Fleet::add`].
    pub async fn add_servos(&self, servos: Vec<ServoConfig>) -> Result<Vec<Arc<str>>, ChangeError> {
        let fleet = self.clone();
        let adding = async move {
            let mut affairs = fleet.0.turn().await?;
            fleet.0.add(&mut affairs, servos).await
        };
        self.through(adding).await.map_err(ChangeError::Failed)?
    }

    /// Ends the servo: its command is cancelled or may end first, as `[reload]` of `servo.toml` says, and
    /// its optimizer is told GOODBYE with the reason `reconfigured`. If the configuration's file still has
    /// it, it comes back with the next reload: the answer says so.
    ///
    /// # Errors
    /// When there is no such servo, or it could not be ended.
    pub async fn remove(&self, name: &str) -> Result<Removed, ChangeError> {
        let (fleet, name) = (self.clone(), name.to_owned());
        let removing = async move {
            let mut affairs = fleet.0.turn().await?;
            fleet.0.remove(&mut affairs, &name).await
        };
        self.through(removing).await.map_err(ChangeError::Failed)?
    }
}

impl Inner {
    async fn add(
        &self,
        affairs: &mut Affairs,
        servos: Vec<ServoConfig>,
    ) -> Result<Vec<Arc<str>>, ChangeError> {
        let new = self.examine_new(servos).await?;
        let opened = self.open_for(affairs, &new).await?;
        let clients = {
            let configurations = new.values().map(|m| m.config.clone()).collect();
            self.make_clients(&affairs.clients, configurations).await
        };
        let made: Result<Vec<_>, ChangeError> =
            clients.map_err(ChangeError::Failed).and_then(|made| {
                made.into_iter()
                    .map(|(config, client)| {
                        let name = &config.name;
                        client
                            .map(|client| (config.clone(), client))
                            .map_err(|e| ChangeError::Invalid(format!("servo \"{name}\": {e}")))
                    })
                    .collect()
            });
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                self.close_unused(affairs).await;
                return Err(error);
            }
        };
        if opened {
            self.hide_studies();
        }
        let mut added: Vec<Arc<str>> = Vec::with_capacity(made.len());
        for (config, client) in made {
            let started = self.start(&config, client).await;
            if let Err(error) = started {
                for name in &added {
                    self.members.remove(name);
                    let _ = self.tree.assembly().remove(name, "reconfigured").await;
                }
                self.close_unused(affairs).await;
                return Err(match error {
                    AssemblyError::Duplicate(_) => ChangeError::Taken(error.to_string()),
                    other => ChangeError::Failed(other.to_string()),
                });
            }
            if let Some(member) = new.get(&config.name) {
                self.members.insert(member.clone());
            }
            added.push(config.name.clone());
        }
        self.publish_studies(&affairs.clients);
        self.configuration_changed();
        if self.members.len() > 1 {
            crate::daemon::logging::name_servos(true);
        }
        tracing::info!("added while running: {}", some_of(&added));
        Ok(added)
    }

    /// Looks at servos that are to be added.
    async fn examine_new(
        &self,
        servos: Vec<ServoConfig>,
    ) -> Result<BTreeMap<Arc<str>, Member>, ChangeError> {
        let known = self.members.snapshot();
        let directory = self.directory();
        let looking = self.runtime.spawn_blocking(move || {
            let mut examiner = Examiner {
                directory,
                known: &BTreeMap::new(),
                contents: FileContents::default(),
                none: Arc::default(),
            };
            let mut new = BTreeMap::new();
            for servo in servos {
                if let Some(why) = Unfit::of(&servo) {
                    return Err(ChangeError::Invalid(why.to_string()));
                }
                if known.contains_key(&servo.name) || new.contains_key(&servo.name) {
                    return Err(ChangeError::Taken(format!(
                        "a servo named \"{}\" exists already: give one of them another `name`",
                        servo.name
                    )));
                }
                let member = examiner.member(servo, From::Api);
                new.insert(member.config.name.clone(), member);
            }
            match shared_optimizer(known.values(), new.values()) {
                Some(problem) => Err(ChangeError::Taken(problem)),
                None => Ok(new),
            }
        });
        match timeout(LOOKING, looking).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => Err(ChangeError::Failed(error.to_string())),
            Err(_) => Err(ChangeError::Failed(format!(
                "the files that the documents name could not be read within {LOOKING:?}"
            ))),
        }
    }

    /// Opens the trial files that `new` servos need, and says whether studies have changed.
    async fn open_for(
        &self,
        affairs: &mut Affairs,
        new: &BTreeMap<Arc<str>, Member>,
    ) -> Result<bool, ChangeError> {
        let files: Vec<_> = new
            .values()
            .filter_map(|member| match &member.config.optimizer {
                Some(OptimizerConfig::Embedded(e)) => Some(e.database.clone()),
                _ => None,
            })
            .collect();
        if files.is_empty() {
            return Ok(false);
        }
        let running = self.members.snapshot();
        let all = running.values().chain(new.values());
        let studies = studies_of(all.map(|member| &*member.config));
        let mut changed = false;
        for (file, studies) in studies.into_iter().filter(|(file, _)| files.contains(file)) {
            let outcome = match affairs.clients.trial_file_mut(&file) {
                Some(open) if open.makes(&studies) => continue,
                Some(open) => {
                    self.hide_studies();
                    open.reopen(studies).await
                }
                None => TrialFile::open(file.clone(), studies)
                    .await
                    .map(|opened| affairs.clients.insert(file, opened)),
            };
            changed = true;
            if let Err(error) = outcome {
                self.close_unused(affairs).await;
                return Err(ChangeError::Invalid(error.to_string()));
            }
        }
        Ok(changed)
    }

    async fn remove(&self, affairs: &mut Affairs, name: &str) -> Result<Removed, ChangeError> {
        let member = self.members.get(name);
        let removed = Removed {
            comes_back: member.as_ref().is_some_and(|m| m.from == From::Files),
        };
        let farewell = farewell(&self.settings.borrow().daemon.reload);
        self.members.remove(name);
        match self.tree.assembly().remove(name, farewell).await {
            Ok(()) => {}
            Err(AssemblyError::Unknown(name)) => return Err(ChangeError::Unknown(name)),
            Err(error) => {
                if let Some(member) = member {
                    self.members.insert(member);
                }
                return Err(ChangeError::Failed(error.to_string()));
            }
        }
        self.close_unused(affairs).await;
        self.configuration_changed();
        let name = one_line(name);
        if removed.comes_back {
            tracing::warn!("removed while running: {name}; {COMES_BACK}");
        } else {
            tracing::info!("removed while running: {name}");
        }
        Ok(removed)
    }

    /// Closes the trial files that no servo uses any more.
    pub(super) async fn close_unused(&self, affairs: &mut Affairs) {
        if !affairs.clients.has_trial_files() {
            return;
        }
        let running = self.members.snapshot();
        let used = studies_of(running.values().map(|member| &*member.config));
        let unused = affairs.clients.take_unused(&used);
        if !unused.is_empty() {
            self.hide_studies();
            futures_util::future::join_all(unused.into_iter().map(TrialFile::close)).await;
        }
        self.publish_studies(&affairs.clients);
    }
}

/// The names, on one line and not too many.
fn some_of(names: &[Arc<str>]) -> String {
    let named: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|name| one_line(name))
        .collect();
    let named = named.join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servos_take_one_line_however_many_they_are() {
        let names =
            |count| -> Vec<Arc<str>> { (0..count).map(|i| format!("s{i}").into()).collect() };
        assert_eq!(some_of(&names(2)), "s0, s1");
        assert_eq!(
            some_of(&["a\nERROR".into(), "b/c ü".into()]),
            "a\\nERROR, b/c ü"
        );
        let many = some_of(&names(2000));
        assert!(many.ends_with("s8, s9 and 1990 more"), "{many}");
    }
}
