//! The metrics that there are (`spec/kubernetes.md` §14.2).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use servo_messages::{Metric, Unit};

/// Whose pods a metric is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The tuning pod.
    Tuning,
    /// The pods of the workload itself.
    Main,
}

/// What a metric says about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measured {
    /// Cores in use.
    CpuUsage,
    /// Cores that the container requests, or its limit where it has no request.
    CpuRequest,
    /// The most cores that the container can have.
    CpuLimit,
    /// Percentage of the request that is in use.
    CpuSaturation,
    /// GiB in use.
    MemUsage,
    /// GiB that the container requests, or its limit where it has no request.
    MemRequest,
    /// The most GiB that the container can have.
    MemLimit,
    /// Percentage of the request that is in use.
    MemSaturation,
    /// How often the pod's containers were restarted.
    PodRestartCount,
}

macro_rules! metrics {
    ($($metric:ident = $name:literal, $part:ident, $measured:ident, $doc:literal;)+) => {
        /// A metric of a workload or its tuning pod.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum KubeMetric {
            $(
                #[doc = $doc]
                #[serde(rename = $name)]
                $metric,
            )+
        }

        impl KubeMetric {
            /// Every metric, in the order of the specification.
            pub const ALL: [KubeMetric; 18] = [$(KubeMetric::$metric,)+];

            /// The name that is reported to the optimizer.
            pub const fn name(self) -> &'static str {
                match self {
                    $(KubeMetric::$metric => $name,)+
                }
            }

            /// Whose pods it is about.
            pub const fn part(self) -> Part {
                match self {
                    $(KubeMetric::$metric => Part::$part,)+
                }
            }

            /// What it says about a pod.
            pub const fn measured(self) -> Measured {
                match self {
                    $(KubeMetric::$metric => Measured::$measured,)+
                }
            }
        }
    };
}

metrics! {
    TuningCpuUsage = "tuning_cpu_usage", Tuning, CpuUsage, "Cores in use by the tuning pod.";
    TuningCpuRequest = "tuning_cpu_request", Tuning, CpuRequest, "Cores requested by the tuning pod, or its limit.";
    TuningCpuLimit = "tuning_cpu_limit", Tuning, CpuLimit, "The most cores that the tuning pod can have.";
    TuningCpuSaturation = "tuning_cpu_saturation", Tuning, CpuSaturation, "Percentage of the tuning pod's CPU request that is in use.";
    TuningMemUsage = "tuning_mem_usage", Tuning, MemUsage, "GiB in use by the tuning pod.";
    TuningMemRequest = "tuning_mem_request", Tuning, MemRequest, "GiB requested by the tuning pod, or its limit.";
    TuningMemLimit = "tuning_mem_limit", Tuning, MemLimit, "The most GiB that the tuning pod can have.";
    TuningMemSaturation = "tuning_mem_saturation", Tuning, MemSaturation, "Percentage of the tuning pod's memory request that is in use.";
    TuningPodRestartCount = "tuning_pod_restart_count", Tuning, PodRestartCount, "Restarts of the tuning pod's containers.";
    MainCpuUsage = "main_cpu_usage", Main, CpuUsage, "Cores in use by each pod of the workload.";
    MainCpuRequest = "main_cpu_request", Main, CpuRequest, "Cores requested by each pod of the workload, or its limit.";
    MainCpuLimit = "main_cpu_limit", Main, CpuLimit, "The most cores that each pod of the workload can have.";
    MainCpuSaturation = "main_cpu_saturation", Main, CpuSaturation, "Percentage of the CPU request that is in use by each pod of the workload.";
    MainMemUsage = "main_mem_usage", Main, MemUsage, "GiB in use by each pod of the workload.";
    MainMemRequest = "main_mem_request", Main, MemRequest, "GiB requested by each pod of the workload, or its limit.";
    MainMemLimit = "main_mem_limit", Main, MemLimit, "The most GiB that each pod of the workload can have.";
    MainMemSaturation = "main_mem_saturation", Main, MemSaturation, "Percentage of the memory request that is in use by each pod of the workload.";
    MainPodRestartCount = "main_pod_restart_count", Main, PodRestartCount, "Restarts of the containers of each pod of the workload.";
}

// === impl KubeMetric ===

impl KubeMetric {
    /// Per cent for saturation, else a plain number.
    pub const fn unit(self) -> Unit {
        match self.measured() {
            Measured::CpuSaturation | Measured::MemSaturation => Unit::Percentage,
            _ => Unit::Float,
        }
    }

    /// What is reported to the optimizer.
    pub fn metric(self) -> Metric {
        Metric::new(self.name(), self.unit())
    }
}

impl fmt::Display for KubeMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
