//! `servo top`

mod board;
mod screen;

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    Context, Failure,
    admin_client::{
        AdminClient, AdminError, AdminOptions,
        answers::{Daemon, Servo, ServoPage},
        words,
    },
    print, table,
};
use crate::daemon::{self, Signals};
use board::{Board, Order, View, Wish};
use screen::{Keys, Resizes, Screen};

/// Watch the servos of a running daemon
///
/// A table that is drawn anew every two seconds. Keys: n, s, o, d, f, r, l and e sort by name, state,
/// operation, commands done, commands not ok, restarts, time of the last result and error, and again
/// the other way round; arrows and pages scroll; / looks for names; q ends. Where stdout or stdin is
/// no terminal, the table is printed once. Exit code: 0; 69 when no daemon answers.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print the table once
    #[arg(long)]
    once: bool,
    /// What the rows are sorted by
    #[arg(long, value_enum, value_name = "KEY", default_value_t)]
    sort: Order,
    /// Only servos whose names contain this
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    search: String,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    admin: AdminOptions,
}

/// What one look at the daemon shows.
struct Look {
    daemon: Daemon,
    matched: usize,
    servos: Vec<Servo>,
}

/// A look takes at most this part of the time, so that many servos are no burden to the daemon.
const SHARE: u32 = 5;

/// What is missing on the screen is asked for after this, so that a daemon that tells of less than it
/// counts is no reason to ask without end.
const SOON: Duration = Duration::from_millis(50);

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = AdminClient::new(context, &arguments.admin)?;
    let search = match (&context.name, arguments.search.as_str()) {
        (Some(name), "") => name.clone(),
        (_, search) => search.to_owned(),
    };
    let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    let shown = async {
        if arguments.once || !terminal {
            once(&client, arguments.sort, &search).await
        } else {
            let board = Board::new(arguments.sort, search);
            live(&client, board, arguments.interval, context.colour).await
        }
    };
    daemon::block_on(shown).map_err(|e| Failure::Failed(e.to_string()))?
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval: servo_messages::Duration = text.parse().map_err(|e| format!("{e}"))?;
    let interval = Duration::from(interval);
    if (Duration::from_millis(200)..=Duration::from_secs(3600)).contains(&interval) {
        Ok(interval)
    } else {
        Err("expected a time from 200ms to 1h".to_owned())
    }
}

async fn look(client: &AdminClient, view: &View) -> Result<Look, AdminError> {
    let daemon = client.get_as(&["status"], &[]).await?;
    let (offset, limit) = (view.offset.to_string(), view.limit.to_string());
    let mut parameters = parameters(view.order, &view.search);
    parameters.extend([("offset", offset.as_str()), ("limit", limit.as_str())]);
    if view.reversed {
        parameters.push(("reverse", "true"));
    }
    let page: ServoPage = client.get_as(&["servos"], &parameters).await?;
    Ok(Look {
        daemon,
        matched: page.matched,
        servos: client.read_servos(&page.servos)?,
    })
}

fn parameters(order: Order, search: &str) -> Vec<(&str, &str)> {
    let mut parameters = vec![("sort", order.parameter())];
    if !search.is_empty() {
        parameters.push(("q", search));
    }
    parameters
}

async fn once(client: &AdminClient, order: Order, search: &str) -> Result<(), Failure> {
    let status: Daemon = client.get_as(&["status"], &[]).await?;
    let servos = client.servos(&parameters(order, search)).await?;
    let servos = client.read_servos(&servos)?;
    let rows = servos.iter().map(board::row).collect();
    print(&format!(
        "{}\n\n{}",
        words::daemon(&status),
        table::render(board::HEADERS, rows)
    ))
}

async fn live(
    client: &AdminClient,
    mut board: Board,
    interval: Duration,
    colour: bool,
) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::Failed(format!("cannot use the terminal: {e}"));
    // What is wrong from the start is an error; what goes wrong later is shown.
    let size = screen::size();
    let view = board.view(size);
    let first = look(client, &view).await?;
    let mut daemon = first.daemon;
    board.take(&view, first.matched, first.servos);
    let mut signals = Signals::listen().map_err(failed)?;
    let mut resizes = Resizes::listen().map_err(failed)?;
    let screen = Screen::open(colour).map_err(failed)?;
    let mut keys = Keys::read();
    // A look does not keep keys waiting.
    let (wishes, mut wished) = mpsc::channel::<View>(1);
    let (found, mut looks) = mpsc::channel(1);
    let looking = async {
        while let Some(view) = wished.recv().await {
            let began = Instant::now();
            let outcome = look(client, &view).await;
            if found.send((view, began.elapsed(), outcome)).await.is_err() {
                break;
            }
        }
    };
    let showing = async {
        let mut trouble: Option<String> = None;
        let mut next = Instant::now() + interval;
        let mut pending = false;
        loop {
            let lines = board.lines(&daemon, trouble.as_deref(), screen.size());
            screen.draw(&lines).map_err(failed)?;
            tokio::select! {
                signal = signals.next() => return Err(Failure::Interrupted(signal)),
                _ = resizes.next() => if !board.is_complete(screen.size()) { next = Instant::now() },
                key = keys.next() => match key.map(|key| board.press(key, screen.size())) {
                    // Without keys there is no end but by a signal.
                    None | Some(Wish::Nothing) => {}
                    Some(Wish::Look) => next = Instant::now(),
                    Some(Wish::End) => return Ok(()),
                },
                () = tokio::time::sleep_until(next), if !pending => {
                    pending = wishes.try_send(board.view(screen.size())).is_ok();
                }
                Some((view, took, outcome)) = looks.recv() => {
                    pending = false;
                    next = Instant::now() + interval.max(took * SHARE);
                    match outcome {
                        Ok(look) => {
                            trouble = None;
                            daemon = look.daemon;
                            let taken = board.take(&view, look.matched, look.servos);
                            // Meanwhile something else is looked for.
                            if !taken || !board.is_complete(screen.size()) {
                                next = Instant::now() + SOON;
                            }
                        }
                        Err(error) => trouble = Some(error.to_string()),
                    }
                }
            }
        }
    };
    tokio::select! {
        shown = showing => shown,
        () = looking => Ok(()),
    }
}
