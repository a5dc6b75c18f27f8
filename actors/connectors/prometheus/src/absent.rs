//! What it means when a query yields nothing (`spec/metrics-and-load.md` §1.5).

use std::borrow::Cow;

use crate::{
    config::{AbsentPolicy, MetricConfig},
    failure::QueryError,
    response::QueryData,
};

/// Yields zero where the query before it yields nothing.
const OR_ZERO: &str = " or on() vector(0)";

/// The query that is sent for a metric.
pub(crate) fn effective_query(metric: &MetricConfig) -> Cow<'_, str> {
    match metric.absent {
        AbsentPolicy::Zero => Cow::Owned(format!("{}{OR_ZERO}", metric.query)),
        AbsentPolicy::Ignore | AbsentPolicy::Warn | AbsentPolicy::Fail => {
            Cow::Borrowed(&metric.query)
        }
    }
}

/// The query that tells a metric that Prometheus does not know from one without values.
pub(crate) fn probe_query(metric: &MetricConfig) -> String {
    format!("absent({})", metric.query)
}

/// Whether an empty result asks for the probe.
pub(crate) const fn wants_probe(policy: AbsentPolicy) -> bool {
    match policy {
        AbsentPolicy::Warn | AbsentPolicy::Fail => true,
        AbsentPolicy::Ignore | AbsentPolicy::Zero => false,
    }
}

/// What the probe says: whether Prometheus does not know the metric.
pub(crate) fn is_absent(probe: &QueryData) -> Result<bool, String> {
    let QueryData::Vector(elements) = probe else {
        return Err(format!(
            "expected a vector result but found {}",
            probe.kind()
        ));
    };
    match elements.as_slice() {
        [] => Ok(false),
        [element] => match element.samples.as_slice() {
            [sample] if sample.value == 1.0 => Ok(true),
            _ => Err("expected the value 1 of an absent metric but found another".into()),
        },
        several => Err(format!(
            "expected a single result vector but found {}",
            several.len()
        )),
    }
}

/// A word of explanation where the policy made the query invalid.
pub(crate) fn explanation(metric: &MetricConfig, error: &QueryError) -> &'static str {
    match error {
        QueryError::Refused { text, .. }
            if metric.absent == AbsentPolicy::Zero
                && text.contains("set operator")
                && text.contains("scalar") =>
        {
            "; `absent: zero` appends ` or on() vector(0)`, which a query for a scalar does not allow: put the \
             query into vector(...), or choose another policy"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn probe(kind: &str, result: serde_json::Value) -> Result<bool, String> {
        is_absent(&serde_json::from_value(json!({"resultType": kind, "result": result})).unwrap())
    }

    #[test]
    fn only_a_single_one_means_absent() {
        let one = |value: &str| json!({"metric": {}, "value": [1, value]});
        assert_eq!(probe("vector", json!([])), Ok(false));
        assert_eq!(probe("vector", json!([one("1")])), Ok(true));
        assert!(probe("vector", json!([one("0")])).is_err());
        assert_eq!(
            probe("vector", json!([one("1"), one("1")])).unwrap_err(),
            "expected a single result vector but found 2"
        );
        assert_eq!(
            probe("scalar", json!([1, "1"])).unwrap_err(),
            "expected a vector result but found scalar"
        );
    }

    #[test]
    fn each_policy_sends_its_query() {
        for (policy, query, probed) in [
            ("ignore", "up", false),
            ("zero", "up or on() vector(0)", false),
            ("warn", "up", true),
            ("fail", "up", true),
        ] {
            let metric: MetricConfig =
                serde_json::from_value(json!({"name": "m", "query": "up", "absent": policy}))
                    .unwrap();
            assert_eq!(effective_query(&metric), query);
            assert_eq!(wants_probe(metric.absent), probed);
            assert_eq!(probe_query(&metric), "absent(up)");
        }
    }
}
