//! How a connector says what it verifies (`spec/events-and-checks.md` §6.3).

use std::{fmt, rc::Rc, time::Duration};

use futures_util::future::LocalBoxFuture;
use servo_messages::Severity;

use super::{
    outcome::{CheckFailure, CheckOutcome, IntoOutcome},
    remedy::Remedy,
};

/// The checks of a connector, in the order in which they run.
///
/// They may borrow from the connector, and from what stands around them: a `Cell` that an earlier check fills is there
/// for the later ones, if it is declared before the `Checks`. See [`Checks::run`] for how they are run.
///
/// ```
/// # use std::cell::Cell;
/// # use servo_dispatch::{Check, CheckEvent, CheckFailure, Checks, Remedy, ensure};
/// # use servo_messages::EventError;
/// # struct Client;
/// # impl Client {
/// #     async fn pods(&self) -> Result<Vec<String>, std::io::Error> { Ok(vec!["a".into(), "b".into()]) }
/// #     async fn start(&self) -> Result<(), std::io::Error> { Ok(()) }
/// # }
/// # async fn checks(client: &Client, queries: &[String], event: &CheckEvent) -> Result<Vec<Check>, EventError> {
/// let pods = Cell::new(0);
/// let mut checks = Checks::new();
/// checks
///     .require("Connectivity", async || {
///         pods.set(client.pods().await?.len());
///         Ok::<_, CheckFailure>(format!("{} pods", pods.get()))
///     })
///     .id("check_connectivity")
///     .hint("look at the address");
/// checks
///     .check("Pods are running", async || ensure(pods.get() > 0, "there are none"))
///     .id("check_pods")
///     .tags(["fast"])
///     .remedy(Remedy::new(|| async { Client.start().await }));
/// checks
///     .for_each("Queries", queries, |query| format!("Query \"{query}\""), async |query| !query.is_empty())
///     .id("check_queries");
/// # checks.run_alone(event).await
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let results = checks(&Client, &["up".to_owned()], &CheckEvent::default()).await.unwrap();
/// let told: Vec<_> = results.iter().map(|c| (c.id.as_str(), c.success())).collect();
/// assert_eq!(told, [
///     ("check_connectivity", Some(true)),
///     ("check_pods", Some(true)),
///     ("check_queries_item_0", Some(true)),
/// ]);
/// # });
/// ```
#[derive(Default)]
pub struct Checks<'a>(pub(crate) Vec<Declaration<'a>>);

/// A check, or a group of checks, that is being declared.
pub struct Declaration<'a> {
    pub(crate) name: String,
    /// As it was given; validated when the checks are run.
    pub(crate) id: Option<String>,
    pub(crate) source: Source<'a>,
    pub(crate) traits: Traits,
}

/// What the checks of a group have in common.
#[derive(Clone, Debug)]
pub(crate) struct Traits {
    pub(crate) description: Option<String>,
    pub(crate) severity: Severity,
    pub(crate) tags: Vec<String>,
    pub(crate) limit: Option<Duration>,
    pub(crate) hint: Option<String>,
    pub(crate) remedy: Option<Remedy>,
}

/// Where the code of a declared check comes from.
pub(crate) enum Source<'a> {
    One(Body<'a>),
    Group(Items<'a>),
    /// A group whose items have to be found first.
    Sought(Search<'a>),
}

/// The code of one check.
pub(crate) type Body<'a> = Box<dyn FnOnce() -> LocalBoxFuture<'a, CheckOutcome> + 'a>;
/// The checks of a group, by name.
pub(crate) type Items<'a> = Vec<(String, Body<'a>)>;
/// What finds the items of a group.
pub(crate) type Search<'a> =
    Box<dyn FnOnce() -> LocalBoxFuture<'a, Result<Items<'a>, CheckFailure>> + 'a>;

// === impl Checks ===

impl<'a> Checks<'a> {
    /// No checks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An ordinary check: when it fails, the others are still meaningful.
    pub fn check<O: IntoOutcome>(
        &mut self,
        name: impl Into<String>,
        code: impl AsyncFnOnce() -> O + 'a,
    ) -> &mut Declaration<'a> {
        self.declare(name, Severity::Common, Source::One(one(code)))
    }

    /// A precondition: when it fails, the later ones of its connector are pointless.
    pub fn require<O: IntoOutcome>(
        &mut self,
        name: impl Into<String>,
        code: impl AsyncFnOnce() -> O + 'a,
    ) -> &mut Declaration<'a> {
        self.declare(name, Severity::Critical, Source::One(one(code)))
    }

    /// Mere advice: when it fails, that is told and stands in nobody's way.
    pub fn warn<O: IntoOutcome>(
        &mut self,
        name: impl Into<String>,
        code: impl AsyncFnOnce() -> O + 'a,
    ) -> &mut Declaration<'a> {
        self.declare(name, Severity::Warning, Source::One(one(code)))
    }

    /// A group: one ordinary check for each of `items`, in their order, with the name that `item_name` gives it.
    ///
    /// The group's own name is never seen. With [`Declaration::id`] the checks have the ids `<id>_item_<n>`, counted
    /// from 0; without, each has one that is made of its name.
    pub fn for_each<T: 'a, O: IntoOutcome>(
        &mut self,
        group: impl Into<String>,
        items: impl IntoIterator<Item = T>,
        item_name: impl Fn(&T) -> String,
        code: impl AsyncFn(T) -> O + 'a,
    ) -> &mut Declaration<'a> {
        let items = group_of(items, item_name, code);
        self.declare(group, Severity::Common, Source::Group(items))
    }

    /// As [`Checks::for_each`], of items that `search` has to find when it is the group's turn; with a filter, before
    /// all checks.
    ///
    /// When it cannot, that is one failed check with the name and the id of the group.
    pub fn for_each_found<T, I, E, O>(
        &mut self,
        group: impl Into<String>,
        search: impl AsyncFnOnce() -> Result<I, E> + 'a,
        item_name: impl Fn(&T) -> String + 'a,
        code: impl AsyncFn(T) -> O + 'a,
    ) -> &mut Declaration<'a>
    where
        T: 'a,
        I: IntoIterator<Item = T>,
        E: Into<CheckFailure>,
        O: IntoOutcome,
    {
        let search: Search<'a> = Box::new(move || {
            Box::pin(async move {
                let items = search().await.map_err(Into::into)?;
                Ok(group_of(items, item_name, code))
            })
        });
        self.declare(group, Severity::Common, Source::Sought(search))
    }

    /// The checks of `other`, behind those that are here.
    pub fn include(&mut self, other: Checks<'a>) -> &mut Self {
        self.0.extend(other.0);
        self
    }

    fn declare(
        &mut self,
        name: impl Into<String>,
        severity: Severity,
        source: Source<'a>,
    ) -> &mut Declaration<'a> {
        let declaration = Declaration {
            name: name.into(),
            id: None,
            source,
            traits: Traits {
                description: None,
                severity,
                tags: Vec::new(),
                limit: None,
                hint: None,
                remedy: None,
            },
        };
        let place = self.0.len();
        self.0.push(declaration);
        &mut self.0[place]
    }
}

fn one<'a, O: IntoOutcome>(code: impl AsyncFnOnce() -> O + 'a) -> Body<'a> {
    Box::new(move || Box::pin(async move { code().await.into_outcome() }))
}

fn group_of<'a, T: 'a, O: IntoOutcome>(
    items: impl IntoIterator<Item = T>,
    item_name: impl Fn(&T) -> String,
    code: impl AsyncFn(T) -> O + 'a,
) -> Items<'a> {
    let code = Rc::new(code);
    items
        .into_iter()
        .map(|item| {
            let name = item_name(&item);
            let code = code.clone();
            let body: Body<'a> =
                Box::new(move || Box::pin(async move { code(item).await.into_outcome() }));
            (name, body)
        })
        .collect()
}

impl fmt::Debug for Checks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

// === impl Declaration ===

impl Declaration<'_> {
    /// The id, in place of one that is made of the name: `[0-9A-Za-z_.-]{1,128}`, unique in the connector.
    pub fn id(&mut self, id: impl Into<String>) -> &mut Self {
        self.id = Some(id.into());
        self
    }

    /// More about it.
    pub fn describe(&mut self, description: impl Into<String>) -> &mut Self {
        self.traits.description = Some(description.into());
        self
    }

    /// How much a failure matters, in place of what the declaring method says.
    pub fn severity(&mut self, severity: Severity) -> &mut Self {
        self.traits.severity = severity;
        self
    }

    /// What it has in common with others: `[0-9a-z_.-]{1,32}` each.
    pub fn tags<T: Into<String>>(&mut self, tags: impl IntoIterator<Item = T>) -> &mut Self {
        self.traits.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// How long it may take, in place of what the run says, 2 minutes.
    pub fn within(&mut self, limit: Duration) -> &mut Self {
        self.traits.limit = Some(limit);
        self
    }

    /// What the operator can do when it fails and does not say itself.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.traits.hint = Some(hint.into());
        self
    }

    /// What Servo can do when it fails and does not say itself.
    pub fn remedy(&mut self, remedy: Remedy) -> &mut Self {
        self.traits.remedy = Some(remedy);
        self
    }
}

impl fmt::Debug for Declaration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Declaration")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("traits", &self.traits)
            .finish_non_exhaustive()
    }
}
