//! What it costs to tell ten subscribers something.
//!
//! A message counts once, when all ten have it. Messages per CPU second are of this thread alone, which does all the
//! work: publishing, and every subscriber's task.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod beside;

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use servo_dispatch::{Delivery, Exchange, Filter, Message, Overflow, SubscribeOptions};
use tokio::sync::Notify;

const ROUND: Duration = Duration::from_millis(1500);
const SUBSCRIBERS: u64 = 10;

/// On-CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

/// Subscribers that count what they get, and ring when they have it.
#[derive(Default)]
struct Audience {
    got: Cell<u64>,
    rang: Notify,
}

impl Audience {
    /// Selects one channel among others.
    fn of(exchange: &Exchange, selector: &str) -> Rc<Self> {
        let audience = Rc::<Self>::default();
        for _ in 0..SUBSCRIBERS {
            let options = SubscribeOptions::default().overflow(Overflow::Block {
                patience: Duration::from_secs(60),
            });
            let mut subscription = exchange.subscribe(selector, options).unwrap();
            let audience = audience.clone();
            actix_rt::spawn(async move {
                while subscription.next().await.is_some() {
                    audience.got.set(audience.got.get() + 1);
                    if audience.got.get() % SUBSCRIBERS == 0 {
                        audience.rang.notify_waiters();
                    }
                }
            });
        }
        audience
    }

    async fn has(&self, all: u64) {
        while self.got.get() < all {
            self.rang.notified().await;
        }
    }
}

/// Publishes `burst` messages at a time, then waits until everybody has them.
async fn round(what: &str, burst: u64, audience: &Audience, mut publish: impl AsyncFnMut()) {
    let (mut published, before) = (0, audience.got.get());
    let mut go_on = async |time: Duration| {
        let began = Instant::now();
        while began.elapsed() < time {
            for _ in 0..burst {
                publish().await;
            }
            published += burst;
            audience.has(before + published * SUBSCRIBERS).await;
        }
        published
    };
    let warm = go_on(ROUND / 5).await;
    let (began, cpu_before) = (Instant::now(), cpu());
    let count = (go_on(ROUND).await - warm) as f64;
    let (wall, cpu) = (
        began.elapsed().as_secs_f64(),
        (cpu() - cpu_before).as_secs_f64(),
    );
    println!(
        "{what:<58} {:>10.0} /s {:>10.0} /CPU s {:>11.0} deliveries/CPU s {:>6.2} CPU µs each",
        count / wall,
        count / cpu,
        count * SUBSCRIBERS as f64 / cpu,
        cpu * 1e6 / count,
    );
}

async fn all() {
    for burst in [1, 100] {
        let exchange = Exchange::new("bench");
        let audience = Audience::of(&exchange, "load");
        for i in 0..20 {
            exchange.channel(format!("other{i}")).unwrap();
        }
        let channel = exchange.channel("load").unwrap();
        round(
            &format!("text, {burst} at a time"),
            burst,
            &audience,
            async || {
                channel
                    .publish(Message::text_of("some text"))
                    .await
                    .unwrap();
            },
        )
        .await;
        round(
            &format!("text by the channel's name, {burst} at a time"),
            burst,
            &audience,
            async || {
                let text = Message::text_of("some text");
                exchange.publish("load", text).await.unwrap();
            },
        )
        .await;

        let exchange = Exchange::new("bench");
        let audience = Audience::of(&exchange, "lo*");
        let numbers = exchange.typed::<u64>("load").unwrap();
        round(
            &format!("values, by a pattern, {burst} at a time"),
            burst,
            &audience,
            async || {
                numbers.publish(7).await.unwrap();
            },
        )
        .await;

        let exchange = Exchange::new("bench");
        let audience = Audience::of(&exchange, "load");
        let channel = exchange.channel("load").unwrap();
        let same = Filter::new("same", |delivery: &Delivery| {
            Some(delivery.message().clone())
        });
        exchange.transform(same).unwrap().keep();
        round(
            &format!("text through a filter, {burst} at a time"),
            burst,
            &audience,
            async || {
                channel
                    .publish(Message::text_of("some text"))
                    .await
                    .unwrap();
            },
        )
        .await;
    }
}

fn main() {
    // As a task among others: waking the outermost future of a thread costs a system call.
    actix_rt::System::new().block_on(async { actix_rt::spawn(all()).await.unwrap() });
    beside::servox("pubsub");
}
