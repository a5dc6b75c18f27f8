use std::time::Duration;

use servo_dispatch::{Exchange, PublishError, SubscribeOptions, SubscriptionEnd};
use tokio_util::sync::CancellationToken;

use super::{exchange, settle, subscribe, text, waiting};

#[tokio::test(start_paused = true)]
async fn a_closed_channel_ends_those_who_named_it_and_takes_no_more() {
    let exchange = exchange();
    let channel = exchange.create_channel("metrics", None).unwrap();
    let mut literal = subscribe(&exchange, "metrics");
    let mut glob = subscribe(&exchange, "metr*");
    let mut regex = subscribe(&exchange, "/metrics/");
    channel.publish(text("last")).await.unwrap();
    channel.close().unwrap();
    assert_eq!(
        channel.close().unwrap_err().to_string(),
        "Channel is already closed"
    );
    assert_eq!(literal.next().await.unwrap().text().unwrap(), "last");
    assert!(literal.next().await.is_none());
    assert_eq!(literal.end(), Some(SubscriptionEnd::ChannelClosed));
    for open in [&mut glob, &mut regex] {
        assert_eq!(waiting(open).await, ["last"]);
        assert_eq!(open.end(), None);
    }
    let by_handle = channel.publish(text("?")).await.unwrap_err();
    let by_name = exchange.publish("metrics", text("?")).await.unwrap_err();
    for error in [by_handle, by_name] {
        let told = error.to_string();
        assert!(
            told.starts_with("Cannot publish messages to a closed Channel"),
            "{told}"
        );
    }
    let late = channel.subscribe(SubscribeOptions::default()).next().await;
    assert!(late.is_none());
    // Removed, its name is free again.
    exchange.remove_channel("metrics").unwrap();
    exchange.create_channel("metrics", None).unwrap();
    exchange.publish("metrics", text("new")).await.unwrap();
    assert_eq!(waiting(&mut glob).await, ["new"]);
    assert!(exchange.remove_channel("nothing").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_subscription_lasts_as_long_as_it_is_meant_to() {
    let exchange = exchange();
    let channel = exchange.channel("c").unwrap();
    let options = SubscribeOptions::default().timeout(Duration::from_secs(10));
    let mut timed = exchange.subscribe("c", options).unwrap();
    let done = CancellationToken::new();
    let options = SubscribeOptions::default().until(done.clone().cancelled_owned());
    let mut bound = exchange.subscribe("c", options).unwrap();
    let mut cancelled = subscribe(&exchange, "c");
    let mut again = cancelled.again().unwrap();
    let dropped = subscribe(&exchange, "c");
    assert_eq!(exchange.status().subscribers, 5);

    let began = tokio::time::Instant::now();
    assert!(timed.next().await.is_none());
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(timed.end(), Some(SubscriptionEnd::TimedOut));
    channel.publish(text("x")).await.unwrap();
    assert_eq!(bound.next().await.unwrap().text().unwrap(), "x");
    done.cancel();
    assert!(bound.next().await.is_none());
    let handle = cancelled.handle();
    handle.cancel().unwrap();
    assert!(
        handle
            .cancel()
            .unwrap_err()
            .to_string()
            .starts_with("Subscriber is already cancelled")
    );
    assert!(cancelled.next().await.is_none());
    drop(dropped);
    assert_eq!(waiting(&mut again).await, ["x"]);
    assert_eq!(exchange.status().subscribers, 1);
}

#[tokio::test(start_paused = true)]
async fn an_exchange_starts_when_it_is_used_and_delivers_before_it_ends() {
    let exchange = exchange();
    assert!(!exchange.is_running());
    let unused = exchange.shutdown().await.unwrap_err();
    assert_eq!(unused.to_string(), "the Exchange is not running");

    let channel = exchange.channel("c").unwrap();
    assert!(exchange.is_running());
    let mut reader = subscribe(&exchange, "c");
    channel.publish(text("1")).await.unwrap();
    channel.publish(text("2")).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        while let Some(delivery) = reader.next().await {
            tokio::time::sleep(Duration::from_secs(1)).await;
            read.push(delivery.text().unwrap().to_owned());
        }
        (read, reader.end())
    });
    assert_eq!(exchange.shutdown().await.unwrap().dropped, 0);
    let (read, end) = reading.await.unwrap();
    assert_eq!(read, ["1", "2"]);
    assert_eq!(end, Some(SubscriptionEnd::ExchangeEnded));
    assert_eq!(channel.publish(text("3")).await, Err(PublishError::Ended));
    assert_eq!(
        exchange.publish("c", text("3")).await,
        Err(PublishError::Ended)
    );
    assert!(subscribe(&exchange, "c").next().await.is_none());
    assert!(exchange.shutdown().await.is_err());
    assert!(!exchange.is_running());
}

#[tokio::test(start_paused = true)]
async fn an_exchange_waits_for_nobody_longer_than_it_says() {
    let exchange = exchange();
    let _lazy = subscribe(&exchange, "c");
    let channel = exchange.channel("c").unwrap();
    for _ in 0..3 {
        channel.publish(text("x")).await.unwrap();
    }
    let began = tokio::time::Instant::now();
    assert_eq!(exchange.shutdown().await.unwrap().dropped, 3);
    assert_eq!(began.elapsed(), Exchange::DRAIN);
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_nobody_is_left_who_could_publish() {
    let exchange = exchange();
    let mut reader = subscribe(&exchange, "*");
    let channel = exchange.channel("c").unwrap();
    drop(exchange);
    channel.publish(text("last")).await.unwrap();
    drop(channel);
    assert_eq!(reader.next().await.unwrap().text().unwrap(), "last");
    assert!(reader.next().await.is_none());
    assert_eq!(reader.end(), Some(SubscriptionEnd::ExchangeEnded));
    assert!(reader.again().is_none());
}
