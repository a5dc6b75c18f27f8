//! Publishing and subscribing, as publishers and subscribers see it.

mod delivery;
mod lifetime;
mod names;
mod transforming;

use servo_dispatch::{Delivery, Exchange, Message, SubscribeOptions, Subscription};

fn exchange() -> Exchange {
    crate::log::capture();
    Exchange::new("org/app")
}

fn text(text: impl AsRef<str>) -> Message {
    Message::text_of(text)
}

fn subscribe(exchange: &Exchange, selector: &str) -> Subscription {
    let options = SubscribeOptions::default();
    exchange.subscribe(selector, options).unwrap()
}

/// All that waits, once everything has had its turn.
async fn waiting(subscription: &mut Subscription) -> Vec<String> {
    settle().await;
    std::iter::from_fn(|| subscription.try_next())
        .map(|delivery: Delivery| delivery.text().unwrap().to_owned())
        .collect()
}

/// With time standing still, until nobody has anything left to do.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_nanos(1)).await;
}

/// What was logged at `level`, as texts.
fn logged(level: &str) -> Vec<String> {
    let lines = crate::log::written().into_iter();
    lines
        .filter(|line| line["level"] == level)
        .map(|line| line["fields"]["message"].as_str().unwrap().to_owned())
        .collect()
}
