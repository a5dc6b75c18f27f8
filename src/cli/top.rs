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
    admin_client::{AdminClient, AdminError, AdminOptions, answers::Daemon, words},
    print, table,
};
use crate::daemon::{self, Signals};
use board::{Board, Order, Wish};
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
    servos: Vec<super::admin_client::answers::Servo>,
}

/// A look takes at most this part of the time, so that many servos are no burden to the daemon.
const SHARE: u32 = 5;

pub(super) fn execute(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = AdminClient::new(context, &arguments.admin)?;
    let search = match (&context.name, arguments.search.as_str()) {
        (Some(name), "") => name.clone(),
        (_, search) => search.to_owned(),
    };
    let board = Board::new(arguments.sort, search);
    let terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    let shown = async {
        if arguments.once || !terminal {
            once(&client, board).await
        } else {
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

async fn look(client: &AdminClient, search: &str) -> Result<Look, AdminError> {
    let daemon = client.get_as(&["status"], &[]).await?;
    let parameters: &[(&str, &str)] = match search {
        "" => &[],
        search => &[("q", search)],
    };
    let servos = client.servos(parameters).await?;
    Ok(Look {
        daemon,
        servos: client.read_servos(&servos)?,
    })
}

async fn once(client: &AdminClient, mut board: Board) -> Result<(), Failure> {
    let look = look(client, board.search()).await?;
    let head = words::daemon(&look.daemon);
    board.take(look.servos);
    let rows: Vec<_> = board.rows().collect();
    print(&format!(
        "{head}\n\n{}",
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
    let mut latest = look(client, board.search()).await?;
    board.take(std::mem::take(&mut latest.servos));
    let mut signals = Signals::listen().map_err(failed)?;
    let mut resizes = Resizes::listen().map_err(failed)?;
    let screen = Screen::open(colour).map_err(failed)?;
    let mut keys = Keys::read();
    // A look does not keep keys waiting.
    let (wishes, mut wished) = mpsc::channel::<String>(1);
    let (found, mut looks) = mpsc::channel(1);
    let looking = async {
        while let Some(search) = wished.recv().await {
            let began = Instant::now();
            let outcome = look(client, &search).await;
            if found
                .send((search, began.elapsed(), outcome))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let showing = async {
        let mut trouble: Option<String> = None;
        let mut next = Instant::now() + interval;
        let mut pending = false;
        loop {
            let lines = board.lines(&latest.daemon, trouble.as_deref(), screen.size());
            screen.draw(&lines).map_err(failed)?;
            tokio::select! {
                signal = signals.next() => return Err(Failure::Interrupted(signal)),
                _ = resizes.next() => {}
                key = keys.next() => match key.map(|key| board.press(key, screen.size())) {
                    // Without keys there is no end but by a signal.
                    None | Some(Wish::Nothing) => {}
                    Some(Wish::Look) => next = Instant::now(),
                    Some(Wish::End) => return Ok(()),
                },
                () = tokio::time::sleep_until(next), if !pending => {
                    pending = wishes.try_send(board.search().to_owned()).is_ok();
                }
                Some((search, took, outcome)) = looks.recv() => {
                    pending = false;
                    next = Instant::now() + interval.max(took * SHARE);
                    match outcome {
                        // Meanwhile something else is looked for.
                        _ if search != board.search() => next = Instant::now(),
                        Ok(Look { daemon, servos }) => {
                            trouble = None;
                            latest.daemon = daemon;
                            board.take(servos);
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
