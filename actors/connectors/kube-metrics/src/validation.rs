//! What the types of the stanza cannot say.

use servo_dispatch::ConfigProblem;

use crate::config::KubeMetricsConfig;

/// Everything that is wrong, with the key of each.
pub(crate) fn problems(config: &KubeMetricsConfig) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    problems.extend(config.namespace.problems("namespace"));
    problems.extend(config.name.problems("name"));
    for (index, metric) in config.metrics_to_collect.iter().enumerate() {
        if config
            .metrics_to_collect
            .iter()
            .take(index)
            .any(|known| known == metric)
        {
            problems.push(ConfigProblem::warning(
                format!("metrics_to_collect[{index}]"),
                format!("{metric} is in the list already"),
            ));
        }
    }
    if config.metric_collection_frequency.is_zero() {
        problems.push(ConfigProblem::error(
            "metric_collection_frequency",
            "expected more than 0",
        ));
    }
    if let Some(kubeconfig) = &config.kubeconfig {
        problems.extend(kubeconfig.problems("kubeconfig"));
    }
    problems
}
