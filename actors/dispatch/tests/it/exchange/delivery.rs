use std::time::Duration;

use servo_dispatch::{Overflow, PublishError, SubscribeOptions, SubscriptionEnd};

use super::{exchange, logged, subscribe, text, waiting};

#[tokio::test(start_paused = true)]
async fn every_subscriber_sees_the_order_of_publication_and_a_slow_one_loses_the_oldest() {
    let exchange = exchange();
    let slow = SubscribeOptions::default().named("snail").capacity(10);
    let mut slow = exchange.subscribe("numbers", slow).unwrap();
    let mut fast = [
        subscribe(&exchange, "numbers"),
        subscribe(&exchange, "num*"),
    ]
    .map(|mut s| {
        tokio::spawn(async move {
            let mut numbers = Vec::new();
            while numbers.len() < 10_000 {
                numbers.push(number(&s.next().await.unwrap()));
            }
            numbers
        })
    });
    let channel = exchange.channel("numbers").unwrap();
    for n in 0..10_000 {
        channel.publish(text(n.to_string())).await.unwrap();
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
        assert!(exchange.status().queued <= 10 + 2 * 1024);
    }
    for fast in &mut fast {
        assert_eq!(fast.await.unwrap(), (0..10_000).collect::<Vec<_>>());
    }
    assert_eq!(slow.lost(), 9_990);
    for n in 9_990..10_000 {
        assert_eq!(number(&slow.next().await.unwrap()), n);
    }
    let told: Vec<_> = logged("WARN")
        .into_iter()
        .filter(|t| t.contains("slow"))
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");

    // Ten seconds later it is worth another line, with what was lost meanwhile.
    tokio::time::advance(Duration::from_secs(11)).await;
    for n in 0..12 {
        channel.publish(text(n.to_string())).await.unwrap();
    }
    let last = logged("WARN").pop().unwrap();
    assert!(last.contains("lost 9990 messages"), "{last}");
}

fn number(delivery: &servo_dispatch::Delivery) -> u64 {
    delivery.text().unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_publisher_waits_for_a_subscriber_that_wants_it_but_not_for_ever() {
    let exchange = exchange();
    let patience = Duration::from_secs(5);
    let options = SubscribeOptions::default()
        .capacity(1)
        .overflow(Overflow::Block { patience });
    let mut reader = exchange.subscribe("c", options).unwrap();
    let channel = exchange.channel("c").unwrap();
    channel.publish(text("1")).await.unwrap();
    assert_eq!(
        channel.try_publish(text("x")),
        Err(PublishError::Busy(channel.name().clone()))
    );
    let publishing = tokio::spawn({
        let channel = channel.clone();
        async move { channel.publish(text("2")).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!publishing.is_finished());
    assert_eq!(waiting(&mut reader).await, ["1"]);
    publishing.await.unwrap().unwrap();
    let began = tokio::time::Instant::now();
    channel.publish(text("3")).await.unwrap();
    assert_eq!(began.elapsed(), patience);
    assert_eq!(waiting(&mut reader).await, ["3"]);
    assert_eq!(reader.lost(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_is_given_up_has_not_happened() {
    let exchange = exchange();
    let patience = Duration::from_secs(60);
    let options = SubscribeOptions::default()
        .capacity(1)
        .overflow(Overflow::Block { patience });
    let mut blocking = exchange.subscribe("c", options).unwrap();
    let mut other = subscribe(&exchange, "c");
    let channel = exchange.channel("c").unwrap();
    channel.publish(text("1")).await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_secs(1), channel.publish(text("2"))).await;
    assert!(given_up.is_err());
    assert_eq!(waiting(&mut blocking).await, ["1"]);
    assert_eq!(waiting(&mut other).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_may_rather_be_disconnected() {
    let exchange = exchange();
    let options = SubscribeOptions::default()
        .capacity(2)
        .overflow(Overflow::Disconnect);
    let mut reader = exchange.subscribe("c", options).unwrap();
    let channel = exchange.channel("c").unwrap();
    for n in 0..4 {
        channel.publish(text(n.to_string())).await.unwrap();
    }
    assert_eq!(reader.end(), Some(SubscriptionEnd::Overflowed));
    assert_eq!(reader.next().await.unwrap().text().unwrap(), "0");
    assert_eq!(reader.next().await.unwrap().text().unwrap(), "1");
    assert!(reader.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn messages_say_where_they_come_from() {
    let exchange = exchange();
    let mut all = subscribe(&exchange, "*");
    let forged = text("x").with_metadata("connector", "someone else");
    let mine = exchange.on_behalf_of("vegeta").channel("c").unwrap();
    mine.publish(forged.clone().with_metadata("unit", "rps"))
        .await
        .unwrap();
    exchange.publish("c", forged).await.unwrap();
    let first = all.next().await.unwrap();
    let of = |key| first.metadata(key);
    assert_eq!(
        [of("servo"), of("connector"), of("unit"), of("hops")],
        [Some("org/app"), Some("vegeta"), Some("rps"), None]
    );
    assert_eq!(all.next().await.unwrap().metadata("connector"), None);
}

#[tokio::test]
async fn publishers_on_other_threads_keep_their_order() {
    let exchange = exchange();
    let options = SubscribeOptions::default().capacity(10_000);
    let mut all = exchange.subscribe("*", options).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let channel = exchange.channel("c").unwrap();
            std::thread::spawn(move || {
                for n in 0..1000 {
                    channel.try_publish(text(format!("{thread} {n}"))).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..4000 {
        let delivery = all.next().await.unwrap();
        let (thread, n) = delivery.text().unwrap().split_once(' ').unwrap();
        let expected = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(n.parse::<u32>().unwrap(), *expected);
        *expected += 1;
    }
    threads.into_iter().for_each(|t| t.join().unwrap());
}
