//! Present values on the channel `metrics.prometheus` (`spec/metrics-and-load.md` §1.9, acceptance 22).

use std::time::Duration;

use jiff::Timestamp;
use servo_dispatch::{
    DispatchOptions, METRICS_PROMETHEUS, MetricSample, Shutdown, Startup, SubscribeOptions,
};
use servo_doubles::{PrometheusAnswer, PrometheusDouble};

use crate::{connecting::on_a_bus, world::PATIENCE};

#[test]
fn a_subscriber_has_one_list_each_interval_without_what_failed() {
    let double = PrometheusDouble::start();
    double.answer("a", PrometheusAnswer::Constant(1.5));
    let refusal = PrometheusAnswer::Error(400, "bad_data".into(), "parse error".into());
    double.answer("b", refusal);
    double.answer("c", PrometheusAnswer::Empty);
    double.answer("d", PrometheusAnswer::Constant(f64::NAN));
    double.answer("e", PrometheusAnswer::Constant(2.0));
    let yaml = format!(
        "{{base_url: '{}', streaming_interval: 100ms, metrics: [{{name: ma, query: a}}, {{name: mb, query: b}}, \
         {{name: mc, query: c}}, {{name: md, query: d}}, {{name: me, query: e}}]}}",
        double.base_url()
    );
    on_a_bus(&yaml, async |bus| {
        let exchange = bus.exchange();
        let mut bytes = exchange
            .subscribe("metrics.*", SubscribeOptions::default())
            .unwrap();
        let mut values = exchange
            .topic(METRICS_PROMETHEUS)
            .unwrap()
            .subscribe(SubscribeOptions::default());
        let before = Timestamp::now();
        bus.dispatch(Startup, DispatchOptions::default())
            .await
            .unwrap();
        for _ in 0..3 {
            let next = tokio::time::timeout(PATIENCE, bytes.next());
            let delivery = next.await.unwrap().unwrap();
            assert_eq!(delivery.content_type(), "application/json");
            assert_eq!(delivery.metadata("connector"), Some("prometheus"));
            let samples: Vec<(String, Timestamp, f64)> = delivery.parse_json().unwrap();
            let told: Vec<_> = samples.iter().map(|(m, _, v)| (m.as_str(), *v)).collect();
            assert_eq!(told, [("ma", 1.5), ("me", 2.0)]);
            assert!(samples[0].1 >= before - Duration::from_secs(1));
        }
        let typed: std::sync::Arc<Vec<MetricSample>> = values.next().await.unwrap();
        assert_eq!(typed[1].metric, "me");
        assert!(double.received().iter().all(|q| q.path == "/api/v1/query"));
        bus.dispatch(Shutdown, DispatchOptions::default())
            .await
            .unwrap();
        let asked = double.received().len();
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(double.received().len(), asked, "asked on after shutdown");
    });
}

#[test]
fn nothing_is_published_unless_it_is_asked_for() {
    let double = PrometheusDouble::start();
    let yaml = format!(
        "{{base_url: '{}', metrics: [{{name: ma, query: a}}]}}",
        double.base_url()
    );
    on_a_bus(&yaml, async |bus| {
        bus.dispatch(Startup, DispatchOptions::default())
            .await
            .unwrap();
        assert!(bus.exchange().find_channel("metrics.prometheus").is_none());
        assert!(double.received().is_empty());
    });
}
