//! The optimizer protocol: what a servo and its optimizer say to each other, and how it gets there.
//!
//! One servo asks one optimizer for commands and answers them; every message is a `POST` of one JSON
//! envelope to one URL (`spec/optimizer-protocol.md` §1-§4). This crate holds both directions of that
//! conversation as typed values, so that a servo and the embedded optimizer's server share one reading of
//! the wire:
//!
//! | what | servo side | optimizer side |
//! |---|---|---|
//! | [`Request`]: an [`Event`] and the servo's uid | serialises | parses |
//! | [`Response`]: a [`Command`], or a [`StatusReply`] | parses | serialises |
//!
//! and the way there:
//!
//! - [`OptimizerClient`], one attempt at one request: in-process elsewhere, and here over HTTP by [`HttpOptimizer`],
//!   for optimizers of the Opsani kind ([`OpsaniEndpoint`]) and of the AppDynamics kind ([`AppdynamicsSource`]: a
//!   ready-made token, an OAuth client, or a connection file that is followed);
//! - [`PostError`], what can go wrong, and [`post_with_retry`], when it is tried again;
//! - [`Channel`], what the requests of many servos share: a client made from a [`Transport`] (the `settings` stanza,
//!   [`servo_messages::CommonConfig`]), OAuth tokens, [`HostLimits`], and a [`RequestObserver`];
//! - [`Diagnostics`], the requests that are no events.
//!
//! # What it must not know
//!
//! It has no loop and no state machine: which request follows which answer, what a cancel does to running
//! work, when to say GOODBYE, belong to the servo. It knows no connector, no configuration file and no
//! actor. The vocabulary inside the messages (controls, adjustments, measurements, durations) is
//! `servo-messages`' and is not repeated here.

mod access;
mod appdynamics;
mod channel;
mod client;
mod command;
mod connection;
mod credential;
mod diagnostics;
mod endpoint;
mod envelope;
mod gate;
mod http;
mod limits;
mod oauth;
mod observer;
mod outage;
mod response;
mod retry;
mod status;
mod transport;
mod turn;

pub use self::{
    appdynamics::{
        AppdynamicsAccess, AppdynamicsConnection, AppdynamicsEndpoint, AppdynamicsError,
        AppdynamicsSource,
    },
    channel::{Channel, MAX_RESPONSE_BYTES},
    client::{BoxFuture, OptimizerClient, PostError, TransportKind},
    command::{Command, CommandError, CommandKind, CommandUid, InvalidCommand, Sleep},
    connection::ConnectionFiles,
    credential::{Credential, CredentialError},
    diagnostics::{Diagnostics, Verdict},
    endpoint::{EndpointError, OpsaniEndpoint, OptimizerId, TokenSource},
    envelope::{Event, EventName, Goodbye, Hello, Operation, Progress, Report, Request},
    http::HttpOptimizer,
    limits::{HostLimits, HostTraffic},
    observer::{RequestObserver, RequestOutcome},
    outage::Outage,
    response::{OptimizerStatus, Response, StatusReply, UnreadableResponse},
    retry::{Backoff, Budget, Decision, GiveUp, PostFailure, Retry, post_with_retry},
    status::{Completion, Explanation, Outcome, Payload},
    transport::{ProxyChoice, Transport, TransportError, Trust},
};
