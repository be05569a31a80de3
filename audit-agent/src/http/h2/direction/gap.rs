//! Bytes of one direction that are missing, and how its frames are found again.
//!
//! In: how many. Out: the steps that this means. Never: a search where the length of a frame still says where the next
//! begins.

use super::super::frame::Frame;
use super::super::search::first_frames;
use super::{Direction, Each, State, Step, Unreadable};

impl Direction {
    /// `len` bytes are missing here.
    pub fn gap(&mut self, len: u64, each: Each<'_>) {
        let left = match self.state {
            State::Data { frame, data, padding } => self.gap_in_data(frame, data, padding, len, each),
            State::Payload { frame, left, .. } => {
                let taken = u32::try_from(len).unwrap_or(u32::MAX).min(left);
                self.state = State::Payload {
                    frame,
                    left: left - taken,
                    spoiled: Some(Unreadable::Gap),
                };
                each(Step::Missed {
                    stream: frame.stream,
                    len: u64::from(taken),
                });
                if taken == left {
                    self.end_payload(frame, Some(Unreadable::Gap), each);
                }
                len - u64::from(taken)
            }
            State::Pass { left } => {
                let taken = u32::try_from(len).unwrap_or(u32::MAX).min(left);
                self.pass(left - taken);
                each(Step::Skipped {
                    seen: 0,
                    missed: taken.into(),
                });
                len - u64::from(taken)
            }
            State::Search | State::Done => {
                each(Step::Skipped {
                    seen: self.held.len() as u64,
                    missed: len,
                });
                self.held.clear();
                0
            }
            State::PadLength(_) | State::Preface | State::Head => len,
        };
        if left > 0 {
            each(Step::Skipped {
                seen: 0,
                missed: left,
            });
            self.lose(each);
        }
    }

    fn gap_in_data(&mut self, frame: Frame, data: u32, padding: u32, len: u64, each: Each<'_>) -> u64 {
        let len_32 = u32::try_from(len).unwrap_or(u32::MAX);
        let missed = len_32.min(data);
        let passed = (len_32 - missed).min(padding);
        each(Step::Missed {
            stream: frame.stream,
            len: u64::from(missed + passed),
        });
        let (data, padding) = (data - missed, padding - passed);
        self.state = State::Data { frame, data, padding };
        if data + padding == 0 {
            self.end_data(frame, each);
        }
        len - u64::from(missed + passed)
    }
}

impl Direction {
    /// The place is lost.
    pub(super) fn lose(&mut self, each: Each<'_>) {
        let in_head = if self.state == State::Head {
            self.held.len()
        } else {
            0
        };
        if in_head > 0 {
            each(Step::Skipped {
                seen: in_head as u64,
                missed: 0,
            });
        }
        self.block = None;
        self.fields.clear();
        self.held.clear();
        self.state = State::Search;
        each(Step::Lost);
    }

    /// Looks for a frame whose length leads to the head of another.
    pub(super) fn search(&mut self, each: Each<'_>) {
        let (at, found) = first_frames(&self.held);
        if at > 0 {
            each(Step::Skipped {
                seen: at as u64,
                missed: 0,
            });
            self.held.drain(..at);
        }
        if found {
            let held = std::mem::take(&mut self.held);
            self.begin_head();
            self.push(&held, each);
        }
    }
}
