//! What the calls of one connection hold together.
//!
//! In: a call that has taken more. Out: all calls together hold at most [`limits::CONNECTION_HELD_BYTES`]. Never: a call cut
//! that does not say so; another order for the same bytes: the call that holds most goes first, of equal ones the oldest.

use super::Exchanges;
use crate::limits;
use std::cmp::Reverse;

/// The note of a call that was cut.
pub const NOTE: &str = "connection_over_cap";

impl Exchanges {
    /// A call's decoder was given something.
    pub(super) fn weigh(&mut self, exchange: u64) {
        let Some(open) = self.open.get_mut(&exchange) else {
            return;
        };
        let held = open.holds();
        let before = std::mem::replace(&mut open.held, held);
        self.held = self.held.saturating_sub(before).saturating_add(held);
        while self.held > limits::CONNECTION_HELD_BYTES && self.release() > 0 {}
    }

    /// Cuts the call that holds most; gives how many bytes that freed.
    fn release(&mut self) -> usize {
        let largest = self
            .open
            .iter_mut()
            .max_by_key(|(number, open)| (open.held, Reverse(**number)));
        let Some((_, open)) = largest else { return 0 };
        open.release();
        let held = open.holds();
        let freed = open.held.saturating_sub(held);
        open.held = held;
        self.held = self.held.saturating_sub(freed);
        freed
    }

    /// Bytes that calls hold.
    pub fn held(&self) -> usize {
        self.held
    }
}

impl super::Open {
    fn holds(&self) -> usize {
        let part = self.finished.request_part.as_ref().map_or(0, Vec::len);
        self.decoder.held() + self.part.len() + part
    }

    fn release(&mut self) {
        self.cut = true;
        self.decoder.release();
        (self.part, self.finished.request_part) = (Vec::new(), None);
        self.keeps_part = false;
    }
}

impl super::Finished {
    /// Whether texts of the call were given up because others on its connection held too much.
    pub fn was_cut(&self) -> bool {
        self.call.notes.contains(&NOTE)
    }
}

#[cfg(test)]
mod tests;
