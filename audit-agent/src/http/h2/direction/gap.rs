//! Bytes of one direction that are missing.
//!
//! In: how many. Out: the steps that this means. Never: a search where the length of a frame still says where the next
//! begins.

use super::super::frame::Frame;
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
