use std::time::Duration;

use servo_dispatch::{Aggregator, Delivery, Filter, Message, Overflow, Splitter, SubscribeOptions};

use super::{exchange, logged, settle, subscribe, text, waiting};

#[tokio::test(start_paused = true)]
async fn filters_stop_and_change_messages_in_their_order() {
    let exchange = exchange();
    let mut heard = subscribe(&exchange, "c");
    let channel = exchange.channel("c").unwrap();
    let shout = Filter::new("shout", |delivery: &Delivery| {
        Some(text(delivery.text().ok()?.to_uppercase()))
    });
    let shout = exchange.transform(shout).unwrap();
    let gate = Filter::with("gate", |delivery: &Delivery| {
        let passes = delivery.text().is_ok_and(|t| !t.starts_with('-'));
        let message = passes.then(|| delivery.message().clone());
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok(message)
        }
    });
    let gate = exchange.transform_at(0, gate).unwrap();
    for told in ["a", "-b", "c"] {
        channel.publish(text(told)).await.unwrap();
    }
    assert_eq!(heard.next().await.unwrap().text().unwrap(), "A");
    assert_eq!(heard.next().await.unwrap().text().unwrap(), "C");
    let told = logged("WARN");
    assert_eq!(told, ["Transfomer gate cancelled delivery of message"]);
    shout.remove();
    drop(gate);
    channel.publish(text("-d")).await.unwrap();
    assert_eq!(waiting(&mut heard).await, ["-d"]);
    assert_eq!(exchange.status().transformers, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_overtaken_when_transformers_come_and_go() {
    let exchange = exchange();
    let mut heard = subscribe(&exchange, "c");
    let channel = exchange.channel("c").unwrap();
    let mut expected = Vec::new();
    for round in 0..20 {
        let slow = Filter::with("slow", |delivery: &Delivery| {
            let message = delivery.message().clone();
            async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(Some(message))
            }
        });
        let slow = exchange.transform(slow).unwrap();
        for n in 0..5 {
            let number = (round * 10 + n).to_string();
            channel.publish(text(&number)).await.unwrap();
            expected.push(number);
        }
        drop(slow);
        let number = (round * 10 + 9).to_string();
        channel.publish(text(&number)).await.unwrap();
        expected.push(number);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(waiting(&mut heard).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_failing_filter_costs_one_message_and_is_named() {
    let exchange = exchange();
    let mut heard = subscribe(&exchange, "c");
    let channel = exchange.channel("c").unwrap();
    let moody = Filter::with("moody", |delivery: &Delivery| {
        let message = delivery.message().clone();
        let told = message.text().unwrap().to_owned();
        assert_ne!(told, "panic", "as told");
        async move {
            match told.as_str() {
                "fail" => Err("no mood".into()),
                "hang" => std::future::pending().await,
                "panic later" => {
                    tokio::task::yield_now().await;
                    panic!("as told, later")
                }
                _ => Ok(Some(message)),
            }
        }
    });
    exchange.transform(moody).unwrap().keep();
    for told in [
        "a",
        "panic",
        "b",
        "fail",
        "c",
        "hang",
        "d",
        "panic later",
        "e",
    ] {
        channel.publish(text(told)).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(waiting(&mut heard).await, ["a", "b", "c", "d", "e"]);
    let errors = logged("ERROR");
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors.iter().all(|e| e.contains("moody")), "{errors:?}");
}

#[tokio::test(start_paused = true)]
async fn a_splitter_tells_its_targets_and_lets_the_original_go_on() {
    let exchange = exchange();
    let (mut first, mut last) = (subscribe(&exchange, "first"), subscribe(&exchange, "last"));
    let mut all = subscribe(&exchange, "whole");
    let split = Splitter::new("words", ["first", "last"], |delivery, parts| {
        let (first, last) = delivery.text()?.split_once(' ').ok_or("one word")?;
        parts.publish("first", text(first))?;
        assert!(parts.publish("elsewhere", text("x")).is_err());
        parts.publish("last", text(last))?;
        Ok(())
    });
    let at_work = exchange.transform(split.unwrap()).unwrap();
    let channel = exchange.on_behalf_of("prom").channel("whole").unwrap();
    channel.publish(text("one two")).await.unwrap();
    let delivery = first.next().await.unwrap();
    assert_eq!(delivery.text().unwrap(), "one");
    assert_eq!(delivery.metadata("connector"), Some("prom"));
    assert_eq!(delivery.metadata("hops"), Some("1"));
    assert_eq!(waiting(&mut last).await, ["two"]);
    assert_eq!(waiting(&mut all).await, ["one two"]);
    drop(at_work);
    channel.publish(text("three four")).await.unwrap();
    assert!(waiting(&mut first).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_splitter_that_feeds_itself_comes_to_an_end() {
    let exchange = exchange();
    let mut heard = subscribe(&exchange, "c");
    let echo = Splitter::new("echo", ["c"], |delivery, parts| {
        parts.publish("c", delivery.message().clone())?;
        Ok(())
    });
    let echo = echo.unwrap().from(["c".parse().unwrap()]);
    exchange.transform(echo).unwrap().keep();
    exchange
        .channel("c")
        .unwrap()
        .publish(text("x"))
        .await
        .unwrap();
    assert_eq!(waiting(&mut heard).await.len(), 16);
    let errors = logged("ERROR");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("echo"), "{errors:?}");

    // Two for one, which doubles each time round: bounded all the same.
    let pairs = Splitter::new("pairs", ["d"], |delivery, parts| {
        parts.publish("d", delivery.message().clone())?;
        parts.publish("d", delivery.message().clone())?;
        Ok(())
    });
    let pairs = pairs.unwrap().from(["d".parse().unwrap()]);
    exchange.transform(pairs).unwrap().keep();
    exchange
        .channel("d")
        .unwrap()
        .publish(text("x"))
        .await
        .unwrap();
    settle().await;
    assert!(exchange.status().queued <= 2 * 1024 + 1024);
}

fn joined(so_far: Option<&Message>, delivery: &Delivery) -> Message {
    let so_far = so_far.map_or("", |message| message.text().unwrap());
    text(format!("{so_far}{}", delivery.text().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_publishes_once_all_have_sent() {
    let exchange = exchange();
    let mut heard = subscribe(&exchange, "sum");
    let both = Aggregator::new("both", ["a", "b"], "sum", |so_far, delivery| {
        Ok(joined(so_far, delivery))
    });
    let both = both.unwrap();
    let view = both.view();
    let at_work = exchange.transform(both).unwrap();
    let (a, b) = (
        exchange.channel("a").unwrap(),
        exchange.channel("b").unwrap(),
    );
    a.publish(text("1")).await.unwrap();
    a.publish(text("2")).await.unwrap();
    assert!(waiting(&mut heard).await.is_empty());
    assert_eq!(view.last_published_at(), None);
    b.publish(text("3")).await.unwrap();
    assert_eq!(waiting(&mut heard).await, ["123"]);
    assert!(view.last_published_at().is_some());
    assert!(format!("{view:?}").contains(r#"channel_message_count: {"a": 0, "b": 0}"#));
    b.publish(text("4")).await.unwrap();
    a.publish(text("5")).await.unwrap();
    assert_eq!(waiting(&mut heard).await, ["45"]);
    drop(at_work);
    b.publish(text("6")).await.unwrap();
    a.publish(text("7")).await.unwrap();
    assert!(waiting(&mut heard).await.is_empty());

    let none = |_: Option<&Message>, _: &Delivery| Ok(text(""));
    assert!(Aggregator::new("x", ["a"], "sum", none).is_err());
    assert!(Aggregator::new("x", ["a", "a"], "sum", none).is_err());
    assert!(Aggregator::new("x", ["a", "b"], "b", none).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_aggregator_with_a_timer_publishes_what_there_is() {
    let exchange = exchange();
    let mut heard = subscribe(&exchange, "sum");
    let timed = Aggregator::new("timed", ["a", "b"], "sum", |so_far, delivery| {
        Ok(joined(so_far, delivery))
    });
    let timed = timed.unwrap().every(Duration::from_millis(10));
    let at_work = exchange.transform(timed).unwrap();
    let (a, b) = (
        exchange.channel("a").unwrap(),
        exchange.channel("b").unwrap(),
    );
    a.publish(text("1")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(9)).await;
    assert!(waiting(&mut heard).await.is_empty());
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(waiting(&mut heard).await, ["1"]);
    // Nothing there, nothing published.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(waiting(&mut heard).await.is_empty());
    // One that is complete sets the timer back.
    tokio::time::sleep(Duration::from_millis(5)).await;
    a.publish(text("2")).await.unwrap();
    b.publish(text("3")).await.unwrap();
    a.publish(text("4")).await.unwrap();
    assert_eq!(waiting(&mut heard).await, ["23"]);
    tokio::time::sleep(Duration::from_millis(8)).await;
    assert!(waiting(&mut heard).await.is_empty());
    tokio::time::sleep(Duration::from_millis(4)).await;
    assert_eq!(waiting(&mut heard).await, ["4"]);
    // Removed, its timer is gone.
    a.publish(text("5")).await.unwrap();
    drop(at_work);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiting(&mut heard).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn transformers_that_are_behind_hold_publishers_up() {
    let exchange = exchange();
    let patience = Duration::from_secs(3600);
    let options = SubscribeOptions::default()
        .capacity(1)
        .overflow(Overflow::Block { patience });
    let mut reader = exchange.subscribe("c", options).unwrap();
    let same = Filter::new("same", |delivery: &Delivery| {
        Some(delivery.message().clone())
    });
    exchange.transform(same).unwrap().keep();
    let channel = exchange.channel("c").unwrap();
    let publishing = tokio::spawn(async move {
        for n in 0..3000 {
            channel.publish(text(n.to_string())).await.unwrap();
        }
    });
    settle().await;
    assert!(!publishing.is_finished());
    assert!(exchange.status().queued <= 1026, "{}", exchange.status());
    for n in 0..3000 {
        assert_eq!(reader.next().await.unwrap().text().unwrap(), n.to_string());
    }
    publishing.await.unwrap();
}
