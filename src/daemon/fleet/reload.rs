//! Reading the configuration again, and making the servos what it says.
//!
//! Everything that can go wrong is tried before anything is changed. Each part has a limit: reading,
//! opening trial files, making clients, and the end of each servo.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt, future, stream};
use servo_assembly::Farewell;
use servo_protocol::OptimizerClient;
use tokio::time::{Instant, timeout};

use super::{
    AT_A_TIME, Affairs, ChangeError, Fleet, Inner, Loaded, ReloadRefused, Reloaded, Trigger,
    clients::{StudiesByFile, studies_of},
    members::{Examiner, From, Member, shared_optimizer},
    trial_file::TrialFile,
};
use crate::{
    config::{
        DaemonConfig, Diff, FileContents, OptimizerConfig, ReloadCommand, ReloadConfig, diff,
        optimizer_identity,
    },
    daemon::{Unfit, logging},
};

/// How long the files may take to be read and looked through.
const READING: Duration = Duration::from_secs(30);

/// How many warnings of one configuration are told.
const WARNINGS: usize = 20;

/// What a reload is to do, with nothing done yet.
struct Intent {
    loaded: Loaded,
    /// The servos of the files, by their names.
    members: BTreeMap<Arc<str>, Member>,
    diff: Diff,
    /// Servos that could not run from the start, and still cannot.
    unfit: Vec<(Arc<str>, Unfit)>,
}

/// A servo that is to start.
type Start = (Member, Arc<dyn OptimizerClient>);

impl Fleet {
    /// Reads the configuration again and makes the servos what it says. Servos that stay as they are
    /// notice nothing: they keep their connection and the command that they carry out. What is changed or
    /// removed says GOODBYE with the reason `reconfigured`.
    ///
    /// Reloads come one after the other; this one is done even when nobody waits for its end. It cannot
    /// hang: each of its parts has a limit.
    ///
    /// # Errors
    /// When anything is wrong with the new configuration. Nothing is changed then.
    pub async fn reload(&self, trigger: Trigger) -> Result<Reloaded, ReloadRefused> {
        let fleet = self.clone();
        let reload = self.through(async move { fleet.reload_in_turn(trigger).await });
        reload.await.unwrap_or_else(|why| {
            let outcome = Err(ReloadRefused::new(why));
            self.0.reloads.note(&outcome);
            self.0.service.ready("the last reload failed");
            outcome
        })
    }

    async fn reload_in_turn(&self, trigger: Trigger) -> Result<Reloaded, ReloadRefused> {
        let inner = &self.0;
        let outcome = match inner.turn().await {
            Ok(mut affairs) => {
                inner.reloads.begin(trigger);
                inner.service.reloading();
                let outcome = inner.reload(&mut affairs).await;
                let text = match &outcome {
                    Ok(reloaded) => reloaded.to_string(),
                    Err(refused) => refused.to_string(),
                };
                if !inner.quit.is_cancelled() {
                    inner.service.ready(&text);
                }
                outcome
            }
            // Nothing is wrong: whoever replaces files while a program ends need not be woken.
            Err(error @ ChangeError::ShuttingDown) => {
                let refused = ReloadRefused::new(error.to_string());
                tracing::info!("{refused}");
                return Err(refused);
            }
            Err(error) => Err(ReloadRefused::new(error.to_string())),
        };
        inner.reloads.note(&outcome);
        outcome
    }
}

impl Inner {
    async fn reload(&self, affairs: &mut Affairs) -> Result<Reloaded, ReloadRefused> {
        let began = Instant::now();
        let intent = self.read(&affairs.unfit).await?;
        let Intent {
            loaded,
            members,
            diff,
            unfit,
        } = intent;
        // From here on everything is tried that may fail.
        let studies = self.wanted_studies(&members);
        let opened = self.open_new_files(affairs, &studies).await?;
        for (file, opened) in opened {
            affairs.clients.insert(file, opened);
        }
        let prepared = self.prepare(affairs, &members, &diff, &loaded).await;
        let starts = match prepared {
            Ok(starts) => starts,
            Err(refused) => {
                self.close_unused(affairs).await;
                return Err(refused);
            }
        };
        // From here on it is done.
        for warning in loaded.warnings.iter().take(WARNINGS) {
            tracing::warn!("{warning}");
        }
        if let Some(more) = loaded.warnings.len().checked_sub(WARNINGS)
            && more > 0
        {
            tracing::warn!("and {more} more warnings: `servo validate` tells all of them");
        }
        for (servo, why) in &unfit {
            tracing::warn!(%servo, "{why}");
        }
        affairs.unfit = unfit.into_iter().map(|(name, _)| name).collect();
        logging::name_servos(loaded.several || self.members.len() > 1);
        self.settings
            .send_modify(|settings| settings.daemon = loaded.daemon.clone());
        self.apply(
            affairs,
            &loaded.daemon.reload,
            &studies,
            &diff,
            &members,
            starts,
        )
        .await;
        if !(diff.added.is_empty() && diff.changed.is_empty() && diff.removed.is_empty()) {
            self.configuration_changed();
        }
        Ok(Reloaded {
            diff,
            took: began.elapsed(),
            needs_restart: needs_restart(&affairs.started_with, &loaded.daemon),
        })
    }

    /// Reads everything, and compares it with what runs.
    async fn read(&self, unfit: &HashSet<Arc<str>>) -> Result<Intent, ReloadRefused> {
        let Some(source) = self.source.clone() else {
            return Err(ReloadRefused::new(
                "this program was not started from a configuration that can be read again",
            ));
        };
        if self.reading.swap(true, Ordering::AcqRel) {
            return Err(ReloadRefused::new(
                "the files of the configuration are still being read for an earlier reload: is their file system gone?",
            ));
        }
        let (known, unfit) = (self.members.snapshot(), unfit.clone());
        let reading = self.reading.clone();
        let read = self.runtime.spawn_blocking(move || {
            let _done = Done(reading);
            let loaded = source.load().map_err(ReloadRefused)?;
            intend(loaded, source.directory(), &known, &unfit)
        });
        match timeout(READING, read).await {
            Ok(Ok(intent)) => intent,
            Ok(Err(error)) => Err(ReloadRefused::new(format!(
                "the configuration could not be looked through: {error}"
            ))),
            Err(_) => Err(ReloadRefused::new(format!(
                "the files of the configuration could not be read within {READING:?}"
            ))),
        }
    }

    /// The studies of the servos that will run: those of the files, and those that were added.
    fn wanted_studies(&self, members: &BTreeMap<Arc<str>, Member>) -> StudiesByFile {
        let running = self.members.snapshot();
        let staying = running.values().filter(|member| {
            member.from == From::Api && !members.contains_key(&member.config.name)
        });
        let all = members.values().chain(staying);
        studies_of(all.map(|member| &*member.config))
    }

    /// Opens the trial files that are not in use yet.
    async fn open_new_files(
        &self,
        affairs: &Affairs,
        studies: &StudiesByFile,
    ) -> Result<Vec<(PathBuf, TrialFile)>, ReloadRefused> {
        let mut opened: Vec<(PathBuf, TrialFile)> = Vec::new();
        for (file, studies) in studies {
            let outcome = if affairs.clients.trial_file(file).is_some() {
                // It is closed and opened again later; what is wrong with studies is told now.
                servo_embedded::Studies::new(studies.clone())
                    .map(drop)
                    .map_err(|error| error.to_string())
            } else {
                TrialFile::open(file.clone(), studies.clone())
                    .await
                    .map(|new| opened.push((file.clone(), new)))
                    .map_err(|error| error.to_string())
            };
            if let Err(error) = outcome {
                future::join_all(opened.into_iter().map(|(_, file)| file.close())).await;
                return Err(ReloadRefused::new(error));
            }
        }
        Ok(opened)
    }

    /// Makes everything that the new servos need, and sets the level of the log.
    async fn prepare(
        &self,
        affairs: &Affairs,
        members: &BTreeMap<Arc<str>, Member>,
        diff: &Diff,
        loaded: &Loaded,
    ) -> Result<Vec<Start>, ReloadRefused> {
        let new: Vec<&Member> = diff
            .added
            .iter()
            .chain(&diff.changed)
            .filter_map(|name| members.get(name))
            .collect();
        let configurations = new.iter().map(|member| member.config.clone()).collect();
        let made = self
            .make_clients(&affairs.clients, configurations)
            .await
            .map_err(ReloadRefused)?;
        let mut starts = Vec::with_capacity(made.len());
        for (config, client) in made {
            let name = &config.name;
            let client =
                client.map_err(|error| ReloadRefused::new(format!("servo \"{name}\": {error}")))?;
            if let Some(member) = members.get(name) {
                starts.push((member.clone(), client));
            }
        }
        if let Some(source) = &self.source {
            source.apply_log(loaded).map_err(ReloadRefused)?;
        }
        Ok(starts)
    }

    /// Has the servos be what the new configuration says.
    async fn apply(
        &self,
        affairs: &mut Affairs,
        config: &ReloadConfig,
        studies: &StudiesByFile,
        diff: &Diff,
        members: &BTreeMap<Arc<str>, Member>,
        starts: Vec<Start>,
    ) {
        // Of those that stay as they are it is the file that counts from now on.
        for name in &diff.unchanged {
            if let Some(member) = members.get(name) {
                self.members.insert(member.clone());
            }
        }
        let reopened: HashSet<&PathBuf> = studies
            .iter()
            .filter(|(file, studies)| {
                let open = affairs.clients.trial_file(file);
                open.is_some_and(|open| !open.makes(studies))
            })
            .map(|(file, _)| file)
            .collect();
        let leaving = self.leaving(diff);
        // An optimizer hears GOODBYE of the old servo before HELLO of the one that takes its place.
        let waits = |member: &Member| {
            let of_file = match &member.config.optimizer {
                Some(OptimizerConfig::Embedded(e)) => reopened.contains(&e.database),
                _ => false,
            };
            of_file
                || optimizer_identity(&member.config).is_some_and(|identity| {
                    let owner = leaving.get(&identity);
                    owner.is_some_and(|owner| *owner != member.config.name)
                })
        };
        let changed: HashSet<&Arc<str>> = diff.changed.iter().collect();
        let (late, early): (Vec<_>, Vec<_>) =
            starts.into_iter().partition(|(member, _)| waits(member));
        let late_changed: HashMap<Arc<str>, ()> = late
            .iter()
            .filter(|(member, _)| changed.contains(&member.config.name))
            .map(|(member, _)| (member.config.name.clone(), ()))
            .collect();
        let farewell = farewell(config);
        // All steps are on their way at a time, a bounded number of them.
        let ends = diff.removed.iter().chain(late_changed.keys());
        let ends = ends.map(|name| Step::End(name.clone()));
        let early = early.into_iter().map(|(member, client)| {
            if changed.contains(&member.config.name) {
                Step::Replace(member, client)
            } else {
                Step::Start(member, client)
            }
        });
        self.take(ends.chain(early), &farewell).await;
        if !reopened.is_empty() {
            self.hide_studies();
            for (file, studies) in studies.iter().filter(|(file, _)| reopened.contains(file)) {
                let Some(open) = affairs.clients.trial_file_mut(file) else {
                    continue;
                };
                if let Err(error) = open.reopen(studies.clone()).await {
                    tracing::error!(
                        "{error}; the servos of this file wait for the next reload that can open it"
                    );
                }
            }
        }
        let late = late.into_iter().map(|(m, client)| Step::Start(m, client));
        self.take(late, &farewell).await;
        let unused = affairs.clients.take_unused(studies);
        if !unused.is_empty() {
            self.hide_studies();
            future::join_all(unused.into_iter().map(TrialFile::close)).await;
        }
        self.publish_studies(&affairs.clients);
    }

    /// The optimizers of the servos that end or change, with whose they are.
    fn leaving(&self, diff: &Diff) -> HashMap<String, Arc<str>> {
        diff.removed
            .iter()
            .chain(&diff.changed)
            .filter_map(|name| {
                let member = self.members.get(name)?;
                Some((optimizer_identity(&member.config)?, name.clone()))
            })
            .collect()
    }

    async fn take(&self, steps: impl Iterator<Item = Step>, farewell: &Farewell) {
        stream::iter(steps)
            .for_each_concurrent(AT_A_TIME, |step| self.step(step, farewell))
            .await;
    }

    async fn step(&self, step: Step, farewell: &Farewell) {
        if self.quit.is_cancelled() {
            return;
        }
        let assembly = self.tree.assembly();
        let (name, done) = match step {
            Step::End(name) => {
                self.members.remove(&name);
                let done = assembly.remove(&name, farewell.clone()).await;
                (name, done)
            }
            Step::Start(member, client) => {
                let name = member.config.name.clone();
                let config = member.config.clone();
                self.members.insert(member);
                (name, self.start(&config, client).await.map(drop))
            }
            Step::Replace(member, client) => {
                let name = member.config.name.clone();
                let config = member.config.clone();
                let spec = self.spec(&config, client.clone());
                self.members.insert(member);
                let done = assembly.replace(&name, spec, farewell.clone()).await;
                let done = done.map(|handle| self.accompany(&config, &client, &handle));
                (name, done)
            }
        };
        if let Err(error) = done {
            // The next reload tries it again.
            self.members.remove(&name);
            tracing::warn!(servo = %name, "{error}");
        }
    }
}

/// What becomes of one servo.
enum Step {
    End(Arc<str>),
    Start(Member, Arc<dyn OptimizerClient>),
    /// It ends, then starts as the member says.
    Replace(Member, Arc<dyn OptimizerClient>),
}

/// How a servo that the reload changes or removes takes its leave.
pub(super) fn farewell(config: &ReloadConfig) -> Farewell {
    let farewell = Farewell::new("reconfigured");
    match config.command {
        ReloadCommand::Cancel => farewell,
        ReloadCommand::Finish => farewell.finishing(config.finish_within.get()),
    }
}

/// Compares what was read with what runs. Blocks.
fn intend(
    mut loaded: Loaded,
    directory: PathBuf,
    known: &BTreeMap<Arc<str>, Member>,
    unfit: &HashSet<Arc<str>>,
) -> Result<Intent, ReloadRefused> {
    let (fit, refused) = Unfit::sift(std::mem::take(&mut loaded.servos), Unfit::of);
    // What could not run before does not keep the others from their changes.
    if let Some((_, why)) = refused.iter().find(|(name, _)| !unfit.contains(name)) {
        return Err(ReloadRefused::new(why.to_string()));
    }
    let mut examiner = Examiner {
        directory,
        known,
        contents: FileContents::default(),
        none: Arc::default(),
    };
    let members: BTreeMap<Arc<str>, Member> = fit
        .into_iter()
        .map(|servo| examiner.member(servo, From::Files))
        .map(|member| (member.config.name.clone(), member))
        .collect();
    let added_by_api = |(name, member): &(&Arc<str>, &Member)| {
        member.from == From::Api && !members.contains_key(*name)
    };
    if known.iter().any(|pair| added_by_api(&pair)) {
        let staying = known.iter().filter(added_by_api).map(|(_, member)| member);
        if let Some(problem) = shared_optimizer(staying, members.values()) {
            return Err(ReloadRefused::new(problem));
        }
    }
    let fingerprint = |(name, member): (_, &Member)| (name, member.fingerprint);
    let diff = diff(
        known
            .iter()
            .filter(|pair| !added_by_api(pair))
            .map(fingerprint),
        members.iter().map(fingerprint),
    );
    Ok(Intent {
        loaded,
        members,
        diff,
        unfit: refused,
    })
}

/// The keys of `servo.toml` that are not what the program was started with, and that only a start takes.
fn needs_restart(started: &DaemonConfig, now: &DaemonConfig) -> Vec<String> {
    let DaemonConfig {
        log,
        // Counts at once: which file is read.
        assembly_file: _,
        arbiters,
        // These three count at once.
        watch: _,
        reload: _,
        optimizer,
        // Of this, `metrics_per_servo` counts at once.
        admin,
    } = now;
    let keys = [
        ("arbiters", started.arbiters != *arbiters),
        ("log.format", started.log.format != log.format),
        ("log.file", started.log.file != log.file),
        (
            "optimizer.max_concurrent_requests",
            started.optimizer.max_concurrent_requests != optimizer.max_concurrent_requests,
        ),
        ("admin.listen", started.admin.listen != admin.listen),
        (
            "admin.token_file",
            started.admin.token_file != admin.token_file,
        ),
        (
            "admin.tls_certificate",
            started.admin.tls.as_ref().map(|tls| &tls.certificate)
                != admin.tls.as_ref().map(|tls| &tls.certificate),
        ),
        (
            "admin.tls_key",
            started.admin.tls.as_ref().map(|tls| &tls.key)
                != admin.tls.as_ref().map(|tls| &tls.key),
        ),
    ];
    let changed = keys.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(key, _)| key.to_owned()).collect()
}

/// Says when the thread that reads is done, however it ends.
struct Done(Arc<std::sync::atomic::AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
