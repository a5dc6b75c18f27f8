use servo_dispatch::{
    ChannelError, ChannelName, METRICS_PROMETHEUS, MetricSample, PublishError, Selector,
    SelectorSyntaxError, SubscribeOptions,
};

use super::{exchange, subscribe, text, waiting};

#[test]
fn selectors_select_by_the_whole_name() {
    let name = "metrics.prometheus.http";
    for (selector, selects) in [
        ("metrics", false),
        ("metrics.prometheus.http", true),
        ("metrics.*", true),
        ("metrics.*.http", true),
        ("metrics.*.https", false),
        ("metrics.*.[abc]ttp", false),
        ("metrics.*.[hef]ttp", true),
        ("metrics.*.[!hef]ttp", false),
        ("metrics.*.[a-i]ttp", true),
        ("metrics?prometheus?http", true),
        ("Metrics.*", false),
        ("/metrics/", false),
        ("/metrics.*/", true),
        ("/metrics.(prometheus|datadog|newrelic).https?/", true),
        ("*", true),
    ] {
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(parsed.matches(name), selects, "{selector}");
        assert_eq!(parsed.to_string(), selector);
    }
    let compiled = regex::Regex::new("metrics[.]pro.*").unwrap();
    assert!(Selector::regex(&compiled).unwrap().matches(name));
    let compiled = regex::Regex::new("metrics|prometheus").unwrap();
    assert!(!Selector::regex(&compiled).unwrap().matches(name));
}

#[test]
fn a_selector_that_is_none_is_refused_with_the_place() {
    let exchange = exchange();
    let error = exchange
        .subscribe("/(/", SubscribeOptions::default())
        .unwrap_err();
    assert!(error.to_string().contains("/(/"), "{error}");
    let SelectorSyntaxError::Pattern { offset, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(offset, 1);
    let error = "metrics.[z-a]".parse::<Selector>().unwrap_err();
    assert!(error.to_string().contains("z-a"), "{error}");
    assert!("not a name".parse::<Selector>().is_err());
}

#[tokio::test]
async fn channels_have_names_of_their_own() {
    let exchange = exchange();
    for good in ["metrics", "A.b-c_d", "x", &"x".repeat(253), "  trimmed "] {
        exchange.create_channel(good, Some("for tests")).unwrap();
        let again = exchange.create_channel(good, None).unwrap_err();
        let told = format!("A Channel named '{}' already exists", good.trim());
        assert_eq!(again.to_string(), told);
    }
    let found = exchange.find_channel("trimmed").unwrap();
    assert_eq!(found.description(), Some("for tests"));
    for bad in [
        "-ab",
        "ab-",
        "a b",
        "metrics:foo",
        "",
        &"x".repeat(254),
        "é",
    ] {
        let error = exchange.create_channel(bad, None).unwrap_err();
        assert!(matches!(error, ChannelError::Name(_)), "{bad}: {error}");
        assert!(ChannelName::try_new(bad).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_temporary_channel_is_closed_when_it_is_done_with() {
    let exchange = exchange();
    let name = {
        let channel = exchange.temporary_channel(None).unwrap();
        let mut heard = subscribe(&exchange, channel.name().as_str());
        channel.publish(text("hello")).await.unwrap();
        assert_eq!(waiting(&mut heard).await, ["hello"]);
        channel.name().clone()
    };
    assert!(exchange.find_channel(name.as_str()).is_none());
    let mine = exchange.create_channel("mine", None).unwrap();
    drop(exchange.temporary_channel(Some("mine")).unwrap());
    mine.publish(text("still there")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publisher_publishes_to_its_own_channels() {
    let exchange = exchange().on_behalf_of("prom");
    let publisher = exchange.publisher(["a", "b"]).unwrap();
    let mut all = subscribe(&exchange, "*");
    publisher.publish(text("both")).await.unwrap();
    publisher.publish_to("b", text("one")).await.unwrap();
    let error = publisher.publish_to("c", text("none")).await.unwrap_err();
    assert_eq!(error.to_string(), "Publisher is not bound to Channel: 'c'");
    assert_eq!(waiting(&mut all).await, ["both", "both", "one"]);
    let error = exchange.publish("c", text("none")).await.unwrap_err();
    assert_eq!(error.to_string(), "no such Channel: c");
    assert!(exchange.publisher(Vec::<&str>::new()).is_err());
    assert_eq!(
        exchange.status().to_string(),
        r#"Exchange(running=true, channel_names=["a", "b"], publisher_count=1, subscriber_count=1, transformer_count=0, queue_size=0)"#
    );
}

#[tokio::test(start_paused = true)]
async fn a_typed_channel_carries_its_type_and_nothing_else() {
    let exchange = exchange();
    let samples = exchange.topic(METRICS_PROMETHEUS).unwrap();
    let mut typed = samples.subscribe(SubscribeOptions::default());
    let mut bytes = subscribe(&exchange, "metrics.*");
    let sample = MetricSample {
        metric: "throughput".to_owned(),
        time: "2026-01-05T10:00:00Z".parse().unwrap(),
        value: 1.5,
    };
    samples.publish(vec![sample.clone()]).await.unwrap();
    assert_eq!(typed.next().await.unwrap()[0], sample);
    let delivery = bytes.next().await.unwrap();
    assert_eq!(delivery.content_type(), "application/json");
    assert_eq!(
        delivery.text().unwrap(),
        r#"[["throughput","2026-01-05T10:00:00Z",1.5]]"#
    );
    assert_eq!(
        delivery.parse_json::<Vec<MetricSample>>().unwrap(),
        [sample]
    );

    let error = exchange.publish("metrics.prometheus", text("?")).await;
    assert!(
        matches!(error, Err(PublishError::OtherType { .. })),
        "{error:?}"
    );
    let error = exchange.typed::<u64>("metrics.prometheus").unwrap_err();
    assert!(error.to_string().contains("MetricSample"), "{error}");
}
