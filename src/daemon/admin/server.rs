//! Connections: how many, how long, and what of them is answered.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    credentials::Credentials,
    lines::{Line, Lines, Peer},
};

/// What a client has to send the head of a request, and to send another one.
const HEAD: Duration = Duration::from_secs(15);

/// What a client has to agree on encryption.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection lasts: one that reads its answers too slowly ends with it.
const CONNECTION: Duration = Duration::from_secs(600);

/// What the last answers have when the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 * 1024;

/// How often credentials are read anew.
const REFRESH: Duration = Duration::from_secs(5);

/// A listener may run out of files; what ended a connection before it began is no reason to wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Answers on `listener` with `app` until `stopping`, and for a moment longer.
///
/// # Errors
/// When the listener cannot be used.
pub(super) async fn serve(
    listener: Arc<TcpListener>,
    app: Router,
    credentials: Arc<Credentials>,
    lines: Lines,
    stopping: CancellationToken,
) -> io::Result<()> {
    // The port stays taken while this actor is restarted: the original is kept elsewhere.
    let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    let mut running = JoinSet::new();
    let refreshing = refresh(credentials.clone());
    tokio::pin!(refreshing);
    // One that was accepted and has no place yet.
    let mut came = None;
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = &mut refreshing => {}
            Some(ended) = running.join_next() => tell(ended),
            line = lines.one_more(), if came.is_some() => {
                if let Some((stream, peer)) = came.take() {
                    let (app, stopping) = (app.clone(), stopping.clone());
                    let tls = credentials.tls().map(TlsAcceptor::from);
                    running.spawn(async move {
                        tokio::select! {
                            () = connection(stream, peer, &line, tls, app, stopping) => {}
                            () = line.gives_way() => {}
                        }
                    });
                }
            }
            accepted = listener.accept(), if came.is_none() => match accepted {
                Ok((stream, peer)) => came = Some((stream, Peer(peer.ip()))),
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    tracing::warn!("the admin server cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    let finish = async {
        while let Some(ended) = running.join_next().await {
            tell(ended);
        }
    };
    let _ = timeout(LAST_ANSWERS, finish).await;
    Ok(())
}

fn tell(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a connection to the admin server was dropped by a panic");
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Reads credentials anew now and then; never ends.
async fn refresh(credentials: Arc<Credentials>) {
    loop {
        sleep(REFRESH).await;
        let credentials = credentials.clone();
        // It can only fail by a panic, which is logged as every panic is.
        let _ = tokio::task::spawn_blocking(move || credentials.refresh()).await;
    }
}

async fn connection(
    stream: TcpStream,
    peer: Peer,
    line: &Line,
    tls: Option<TlsAcceptor>,
    app: Router,
    stopping: CancellationToken,
) {
    // Answers are small and whole: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    match tls {
        None => talk(stream, peer, line, app, stopping).await,
        Some(tls) => match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => talk(stream, peer, line, app, stopping).await,
            Ok(Err(error)) => tracing::debug!("no TLS connection to the admin server: {error}"),
            Err(_) => tracing::debug!("no TLS connection to the admin server in time"),
        },
    }
}

async fn talk<S>(stream: S, peer: Peer, line: &Line, app: Router, stopping: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mark = line.mark();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let answering = mark();
        request.extensions_mut().insert(peer);
        let answered = app.clone().oneshot(request);
        async move {
            let answer = answered.await;
            drop(answering);
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let limit = sleep(CONNECTION);
    tokio::pin!(limit);
    let mut leaving = false;
    loop {
        tokio::select! {
            // What ails a client is its own affair.
            _ = connection.as_mut() => return,
            () = &mut limit => return,
            () = stopping.cancelled(), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
