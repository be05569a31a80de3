//! One direction of one connection: offsets in, ordered pieces out.

use super::{GapCause, Piece};
use audit_common::abi::Shortfall;
use audit_common::decode::Data;

/// Where the stream is. `seen + missed == next` always.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stream {
    /// Offset that comes next.
    next: u64,
    /// Bytes delivered.
    pub seen: u64,
    /// Bytes declared missing.
    pub missed: u64,
    /// Bytes that came after a later one, and were not delivered. They were declared missing before.
    pub late: u64,
    pub ended: bool,
}

impl Stream {
    /// A stream of which everything before `offset` is somebody else's.
    pub fn starting_at(offset: u64) -> Self {
        Self {
            next: offset,
            ..Self::default()
        }
    }

    /// The offset that comes next.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Orders one event; `each` gets a gap before it, its bytes, a gap after them and the end, as they apply.
    pub fn accept<'a>(&mut self, data: &Data<'a>, mut each: impl FnMut(Piece<'a>)) {
        let end = data.offset.saturating_add(u64::from(data.stream_len));
        if data.offset < self.next {
            self.late += u64::from(data.stream_len);
            return;
        }
        self.gap(data.offset - self.next, GapCause::Ring, &mut each);
        if !data.bytes.is_empty() {
            self.seen += data.bytes.len() as u64;
            each(Piece::Data(data.bytes));
        }
        let short = u64::from(data.stream_len) - data.bytes.len() as u64;
        self.gap(short, cause(data.shortfall), &mut each);
        self.next = end;
        if data.eof && !self.ended {
            self.ended = true;
            each(Piece::Eof);
        }
    }

    /// The kernel has counted `total` bytes: what is beyond the last event is missing, and `cause` says why.
    pub fn catch_up<'a>(&mut self, total: u64, cause: GapCause, mut each: impl FnMut(Piece<'a>)) {
        let missing = total.saturating_sub(self.next);
        self.gap(missing, cause, &mut each);
        self.next = self.next.saturating_add(missing);
    }

    fn gap<'a>(&mut self, len: u64, cause: GapCause, each: &mut impl FnMut(Piece<'a>)) {
        if len > 0 {
            self.missed = self.missed.saturating_add(len);
            each(Piece::Gap(len, cause));
        }
    }
}

fn cause(shortfall: Shortfall) -> GapCause {
    match shortfall {
        Shortfall::None => GapCause::Ring,
        Shortfall::Fault => GapCause::Fault,
        Shortfall::CallTooLarge => GapCause::CallTooLarge,
        Shortfall::NotInUserMemory => GapCause::NotInUserMemory,
        Shortfall::HeadOnly => GapCause::HeadOnly,
        Shortfall::Discarded => GapCause::Discarded,
        Shortfall::Unseen => GapCause::Unseen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit_common::abi::ConnKey;
    use audit_common::decode::Direction;

    fn data(offset: u64, stream_len: u32, bytes: &[u8]) -> Data<'_> {
        Data {
            conn: ConnKey {
                sock: 1,
                generation: 1,
            },
            direction: Direction::Rx,
            eof: false,
            joined: false,
            offset,
            stream_len,
            shortfall: Shortfall::Fault,
            bytes,
        }
    }

    fn pieces<'a>(stream: &mut Stream, event: &Data<'a>) -> Vec<Piece<'a>> {
        let mut out = Vec::new();
        stream.accept(event, |piece| out.push(piece));
        out
    }

    #[test]
    fn places_a_lost_event_as_a_gap_of_its_length() {
        let mut stream = Stream::default();
        assert_eq!(pieces(&mut stream, &data(0, 2, b"ab")), [Piece::Data(b"ab")]);
        let got = pieces(&mut stream, &data(5, 1, b"f"));
        assert_eq!(got, [Piece::Gap(3, GapCause::Ring), Piece::Data(b"f")]);
        assert_eq!((stream.seen, stream.missed), (3, 3));
    }

    #[test]
    fn places_what_an_event_could_not_hold_behind_its_bytes() {
        let mut stream = Stream::default();
        let got = pieces(&mut stream, &data(0, 10, b"abc"));
        assert_eq!(got, [Piece::Data(b"abc"), Piece::Gap(7, GapCause::Fault)]);
    }

    #[test]
    fn does_not_deliver_late_bytes_twice() {
        let mut stream = Stream::default();
        pieces(&mut stream, &data(4, 2, b"ef"));
        assert_eq!(pieces(&mut stream, &data(0, 4, b"abcd")), []);
        assert_eq!((stream.seen, stream.missed, stream.late), (2, 4, 4));
    }

    #[test]
    fn declares_the_tail_that_the_kernel_counted() {
        let mut stream = Stream::default();
        pieces(&mut stream, &data(0, 2, b"ab"));
        let mut out = Vec::new();
        stream.catch_up(9, GapCause::Ring, |piece| out.push(piece));
        assert_eq!(out, [Piece::Gap(7, GapCause::Ring)]);
        stream.catch_up(9, GapCause::Ring, |_| panic!("declared twice"));
    }
}
