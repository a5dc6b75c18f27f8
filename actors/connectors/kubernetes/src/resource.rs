//! CPU and memory of a container, as what an optimizer may set (`spec/kubernetes.md` §2.3).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use servo_dispatch::ConfigProblem;
use servo_messages::{Cores, Memory};

use crate::{
    non_empty::NonEmpty,
    range::{self, Amount, Range},
};

/// The kind of setting that CPU, memory and replicas are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RangeKind {
    /// A number between two bounds.
    #[default]
    Range,
}

/// The name that an optimizer knows CPU by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpuName {
    /// The only one.
    #[default]
    Cpu,
}

/// The name that an optimizer knows memory by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemoryName {
    /// The only one.
    #[default]
    Mem,
}

/// A resource requirement of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// What the container is given at least, `resources.requests`.
    Request,
    /// What it can have at most, `resources.limits`.
    Limit,
}

/// Some of the requirements, in order.
pub type Requirements = NonEmpty<Requirement>;

/// What differs between the four stanzas: name, amount, texts, and whether `step` has a default.
macro_rules! resource {
    (
        $(#[$meta:meta])*
        $config:ident: $name:ident of $amount:ty;
        unit: $unit:literal;
        bounds: $bounds:literal;
        step: $(#[$step:meta])*;
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $config {
            /// The name that the optimizer knows it by. It cannot be changed.
            #[serde(default)]
            pub name: $name,
            /// The kind of setting. It cannot be changed.
            #[serde(default, rename = "type")]
            pub kind: RangeKind,
            /// The unit that the optimizer is told.
            #[serde(default = $unit)]
            pub unit: String,
            /// The optimizer must leave it as it is.
            #[serde(default)]
            pub pinned: bool,
            /// The least that the optimizer may set; more than 0.
            #[doc = $bounds]
            #[serde(serialize_with = "text")]
            pub min: $amount,
            /// The most that the optimizer may set.
            #[doc = $bounds]
            #[serde(serialize_with = "text")]
            pub max: $amount,
            /// The distance between two values that the optimizer may set, from `min` on.
            #[doc = $bounds]
            #[serde(serialize_with = "text")]
            $(#[$step])*
            pub step: $amount,
            /// The present value. Default: what the cluster says.
            #[serde(default, serialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
            pub value: Option<$amount>,
            /// The request of a new tuning pod, in place of the application's own.
            #[doc = $bounds]
            #[serde(default, serialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
            pub request: Option<$amount>,
            /// The limit of a new tuning pod, in place of the application's own.
            #[doc = $bounds]
            #[serde(default, serialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
            pub limit: Option<$amount>,
            /// Where the present value is read: the first of these that the container has.
            #[serde(default = "both")]
            pub get: Requirements,
            /// What an adjustment writes.
            #[serde(default = "both")]
            pub set: Requirements,
        }

        impl $config {
            /// What is wrong or odd, with keys below `path`.
            pub fn problems(&self, path: &str) -> Vec<ConfigProblem> {
                range::problems(
                    path,
                    &Range {
                        min: self.min,
                        max: self.max,
                        step: self.step,
                        value: self.value,
                    },
                )
            }
        }
    };
}

resource! {
    /// How much CPU the optimizer may give to a container.
    CpuConfig: CpuName of Cores;
    unit: "cores";
    bounds: "Cores: a number, or a text such as `250m`.";
    step: ;
}

resource! {
    /// How much memory the optimizer may give to a container.
    MemoryConfig: MemoryName of Memory;
    unit: "gibibytes";
    bounds: "A text such as `512Mi` or `1.5GiB`; a whole number is bytes, a number with a point GiB.";
    step: ;
}

resource! {
    /// How much CPU the optimizer may give to a container.
    SteppedCpu: CpuName of Cores;
    unit: "cores";
    bounds: "Cores: a number, or a text such as `250m`.";
    step: #[serde(default = "eighth_of_a_core")];
}

resource! {
    /// How much memory the optimizer may give to a container.
    SteppedMemory: MemoryName of Memory;
    unit: "gibibytes";
    bounds: "A text such as `512Mi` or `1.5GiB`; a whole number is bytes, a number with a point GiB.";
    step: #[serde(default = "eighth_of_a_gibibyte")];
}

macro_rules! same_fields {
    ($from:ident, $to:ident) => {
        impl From<$from> for $to {
            fn from(config: $from) -> Self {
                let $from {
                    name,
                    kind,
                    unit,
                    pinned,
                    min,
                    max,
                    step,
                    value,
                    request,
                    limit,
                    get,
                    set,
                } = config;
                Self {
                    name,
                    kind,
                    unit,
                    pinned,
                    min,
                    max,
                    step,
                    value,
                    request,
                    limit,
                    get,
                    set,
                }
            }
        }
    };
}

same_fields!(SteppedCpu, CpuConfig);
same_fields!(SteppedMemory, MemoryConfig);

fn cores() -> String {
    "cores".to_owned()
}

fn gibibytes() -> String {
    "GiB".to_owned()
}

fn eighth_of_a_core() -> Cores {
    Cores::from_millis(125)
}

fn eighth_of_a_gibibyte() -> Memory {
    Memory::from_mib(128)
}

fn both() -> Requirements {
    Requirements::of(Requirement::Request).and(Requirement::Limit)
}

fn text<A: Amount, S: Serializer>(amount: &A, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&amount.configured())
}

fn optional_text<A: Amount, S: Serializer>(
    amount: &Option<A>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match amount {
        Some(amount) => text(amount, serializer),
        None => serializer.serialize_none(),
    }
}
