//! A child process, seen from inside.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use icecap_table::{Error, Result};
use tokio::sync::mpsc;

use super::frame::{self, Kind};
use crate::plan::task::BUILD_ID;
use crate::worker::WorkerHost;

/// How long a task that nobody waits for any more may take to clear away what it has on the disk.
const CLEAR_WITHIN: Duration = Duration::from_secs(1);

/// Answers framed requests on the process's standard input until that ends: the parent closed it, or is gone.
/// A task that runs then is given up. The caller ends the process afterwards, whatever is still at work in it.
///
/// # Errors
/// `Unavailable` when standard input or output breaks.
pub async fn serve_stdio(host: WorkerHost) -> Result<()> {
    if !write(Kind::Hello, Bytes::from_static(BUILD_ID.as_bytes())).await? {
        return Ok(());
    }
    let mut requests = requests()?;
    while let Some(request) = requests.recv().await {
        let (host, request) = (host.clone(), request?);
        let mut running = tokio::spawn(async move { host.answer(request, None).await });
        let reply = tokio::select! {
            reply = &mut running => reply,
            // One request at a time: what comes before the reply is the end.
            _ = requests.recv() => {
                running.abort();
                let _ = tokio::time::timeout(CLEAR_WITHIN, running).await;
                return Ok(());
            }
        };
        let reply = reply.map_err(|error| Error::bug("a task's host panicked").with_source(error))?;
        if !write(Kind::Reply, reply).await? {
            return Ok(());
        }
    }
    Ok(())
}

/// Standard input's frames. A thread reads them, so that its end is seen while every worker is busy.
fn requests() -> Result<mpsc::Receiver<Result<Bytes>>> {
    let (sender, receiver) = mpsc::channel(1);
    let read = move || {
        let mut stdin = io::stdin().lock();
        loop {
            let next = match frame::receive_blocking(&mut stdin, Kind::Request) {
                Ok(Some(request)) => Ok(request),
                Ok(None) => return,
                Err(error) => Err(Error::unavailable("cannot read a request").with_source(error)),
            };
            let failed = next.is_err();
            if sender.blocking_send(next).is_err() || failed {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("requests".to_owned()).spawn(read);
    thread.map_err(|error| Error::unavailable("cannot start a thread").with_source(error))?;
    Ok(receiver)
}

/// Writes a frame; `false` when nobody reads any more: the parent gave this process up, which is no failure of its
/// statement's.
async fn write(kind: Kind, bytes: Bytes) -> Result<bool> {
    let written =
        tokio::task::spawn_blocking(move || frame::send_blocking(&mut io::stdout().lock(), kind, &bytes));
    let written = written.await.map_err(|error| Error::bug("writing a frame panicked").with_source(error))?;
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::unavailable("cannot write a reply").with_source(error)),
    }
}
