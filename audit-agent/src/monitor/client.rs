//! The worker's side of the channel: questions out, facts in.
//!
//! In: [`Question`]s. Out: the facts that answer them, in order. What is only told is sent in bundles, before the next question
//! or at [`Client::flush`]. Never: a question whose answer is taken for another's.

use super::channel::{Channel, Message};
use super::question::{LEN, Question};
use crate::event::HostFact;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tracing::error;

/// Questions of one message.
const BUNDLE: usize = 64;

/// Why the worker has to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The monitor was told to, by this signal.
    Signal(u8),
    /// There is no monitor any more: no verdict can be given and nothing be looked up.
    Gone,
}

#[derive(Debug)]
pub struct Client {
    channel: Channel,
    told: Vec<u8>,
    end: Option<End>,
}

impl Client {
    pub fn new(channel: Channel) -> Self {
        Self {
            channel,
            told: Vec::with_capacity(BUNDLE * LEN),
            end: None,
        }
    }

    /// Whether the monitor has ended, or wants the worker to.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Becomes readable when there is something for [`Client::hear`].
    pub fn readiness(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Takes a message that answers nothing.
    pub fn hear(&mut self) {
        match self.channel.message() {
            Ok(message) => self.note(&message),
            Err(error) => self.failed(&error),
        }
    }

    /// Has the programs loaded. The ring buffer, or None when the monitor could not; it has said why.
    pub fn start(&mut self) -> (Option<OwnedFd>, Vec<HostFact>) {
        let mut ring = None;
        let facts = self.ask_for(Question::Start, &mut ring);
        (ring, facts)
    }

    /// Tells `question`, or asks it and waits for the answer.
    pub fn ask(&mut self, question: Question) -> Vec<HostFact> {
        self.ask_for(question, &mut None)
    }

    fn ask_for(&mut self, question: Question, ring: &mut Option<OwnedFd>) -> Vec<HostFact> {
        self.told.extend_from_slice(&question.encode());
        if question.is_answered() || self.told.len() >= BUNDLE * LEN {
            self.flush();
        }
        let mut facts = Vec::new();
        while question.is_answered() && self.end != Some(End::Gone) {
            match self.channel.message() {
                Ok(Message::Fact(fact)) => facts.push(*fact),
                Ok(Message::Ring(descriptor)) => *ring = Some(descriptor),
                Ok(Message::End) => break,
                Ok(other) => self.note(&other),
                Err(error) => self.failed(&error),
            }
        }
        facts
    }

    /// Sends what was told since the last question.
    pub fn flush(&mut self) {
        if self.told.is_empty() || self.end == Some(End::Gone) {
            return;
        }
        if let Err(error) = self.channel.send(&self.told) {
            self.failed(&error);
        }
        self.told.clear();
    }

    fn note(&mut self, message: &Message) {
        match message {
            Message::Stop(signal) => {
                self.end.get_or_insert(End::Signal(*signal));
            }
            Message::Closed => self.end = Some(End::Gone),
            Message::Fact(_) | Message::Ring(_) | Message::End => {
                self.failed(&io::ErrorKind::InvalidData.into());
            }
        }
    }

    fn failed(&mut self, problem: &io::Error) {
        if self.end != Some(End::Gone) && problem.kind() != io::ErrorKind::BrokenPipe {
            error!(%problem, "the monitor is not understood");
        }
        self.end = Some(End::Gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::channel::{MESSAGE_MAX, pair};

    const TICK: HostFact = HostFact::Tick { boot_ns: 1 };

    fn questions(monitor: &Channel) -> Vec<Question> {
        let mut buffer = [0; MESSAGE_MAX];
        let bytes = monitor.receive(&mut buffer).unwrap();
        let (questions, rest) = bytes.as_chunks::<LEN>();
        assert!(rest.is_empty());
        questions.iter().filter_map(Question::decode).collect()
    }

    #[test]
    fn what_is_told_goes_before_the_next_question_and_in_one_message() {
        let (monitor, worker) = pair().unwrap();
        let mut client = Client::new(worker);
        let told = Question::Listener {
            port: 1,
            verdict: audit_common::config::Verdict::Watch,
        };
        assert!(client.ask(told).is_empty());
        monitor.send_fact(&TICK).unwrap();
        monitor.send_end().unwrap();
        assert_eq!(client.ask(Question::Losses), [TICK]);
        assert_eq!(questions(&monitor), [told, Question::Losses]);
    }

    #[test]
    fn a_wish_to_stop_within_an_answer_loses_no_fact() {
        let (monitor, worker) = pair().unwrap();
        let mut client = Client::new(worker);
        monitor.send_stop(15).unwrap();
        monitor.send_fact(&TICK).unwrap();
        monitor.send_end().unwrap();
        assert_eq!(client.ask(Question::Losses), [TICK]);
        assert_eq!(client.end(), Some(End::Signal(15)));
    }

    #[test]
    fn a_monitor_that_is_gone_ends_every_question() {
        let (monitor, worker) = pair().unwrap();
        let mut client = Client::new(worker);
        drop(monitor);
        assert!(client.ask(Question::Losses).is_empty());
        assert_eq!(client.end(), Some(End::Gone));
        assert!(client.ask(Question::Refresh).is_empty());
    }
}
