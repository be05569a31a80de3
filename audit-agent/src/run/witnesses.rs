//! The process that asks the witnesses, and the worker's end of the channel to it.
//!
//! In: the log's public key, the log's folder to read. Out: cosigned checkpoints, which the worker checks and keeps. It speaks to
//! strangers over the network, so that it is neither the process with the rights nor the one with the log's key. Never: a
//! write to a file; a wait of the worker for it.

use crate::ledger::disk::DirDisk;
use crate::ledger::keys::Verifier;
use crate::ledger::policy::Policy;
use crate::ledger::witness::client::{Alarm, Client};
use crate::ledger::witness::cosigned::Cosigned;
use crate::monitor::channel::{Channel, MESSAGE_MAX};
use crate::privilege::{self, capabilities::Set, folder::Folder, identity::Account};
use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use tracing::{error, info};

/// Between two looks at the log.
const PAUSE_MS: u16 = 1000;

/// The worker's end.
#[derive(Debug)]
pub struct Witnesses {
    channel: Channel,
    cosigned: Cosigned<DirDisk>,
}

impl Witnesses {
    /// `channel` leads to a process at [`serve`], which waits for the key of the log.
    pub fn new(channel: Channel, cosigned: Cosigned<DirDisk>, log: &Verifier) -> Self {
        // One that has ended already is noticed when it is heard.
        let _ = channel.send(log.to_string().as_bytes());
        Self { channel, cosigned }
    }

    /// Becomes readable when there is something for [`Witnesses::hear`].
    pub fn readiness(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Takes one checkpoint; false when there will be no more.
    pub fn hear(&mut self) -> bool {
        let mut buffer = [0; MESSAGE_MAX];
        let heard = self.channel.receive(&mut buffer);
        let note = match heard.as_deref() {
            Ok([]) | Err(_) => {
                error!(
                    "ALARM: the process that asks the witnesses has ended; nobody cosigns the log until the agent is started again"
                );
                return false;
            }
            Ok(bytes) => String::from_utf8_lossy(bytes),
        };
        if let Err(problem) = self.cosigned.accept(&note) {
            error!(%problem, "ALARM: a cosigned checkpoint is not kept");
        }
        true
    }
}

/// Has the log's checkpoints cosigned until the worker ends, which tells the log's key first.
///
/// # Errors
/// Rights that cannot be given up; a worker that does not say whose log it is.
pub fn serve(policy: Policy, worker: &Channel, log: &Folder, account: Account) -> anyhow::Result<ExitCode> {
    privilege::name(privilege::WITNESSES_NAME);
    privilege::reduce(&account.reader(), Set::EMPTY)?;
    privilege::end_with_parent()?;
    let dir = log.reachable();
    privilege::confine_to_asking()?;
    let mut buffer = [0; MESSAGE_MAX];
    let key = worker
        .receive(&mut buffer)
        .context("the worker cannot be heard")?;
    if key.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let key = Verifier::parse(std::str::from_utf8(key)?)?;
    info!("asking witnesses with {}", privilege::status::own());
    let (mut client, mut alarm) = (Client::new(&dir, key, policy), Alarm::default());
    while waited(worker)? {
        let round = client.round();
        alarm.hear(&round);
        if let Some(note) = round.ok().flatten().and_then(|round| round.cosigned)
            && let Err(problem) = worker.send(note.as_bytes())
        {
            error!(%problem, "ALARM: a cosigned checkpoint does not reach the log");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the pause to be over; false when the worker has ended. It says nothing more than its key.
fn waited(worker: &Channel) -> anyhow::Result<bool> {
    let mut ready = [PollFd::new(worker.as_fd(), PollFlags::POLLIN)];
    match poll(&mut ready, PollTimeout::from(PAUSE_MS)) {
        Ok(ready) => Ok(ready == 0),
        Err(Errno::EINTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
