//! Heads of WebSocket frames (RFC 6455 section 5.2).
//!
//! In: the first bytes of a frame. Out: what they say. Never: payloads.

/// Bytes of the longest head.
pub const HEAD_MAX: usize = 14;
/// Bytes that the payload of a control frame may have (section 5.5).
pub const CONTROL_MAX: u64 = 125;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Continuation,
    Text,
    Binary,
    Close,
    /// Ping and pong: nothing for anybody but the peers.
    Heartbeat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    /// The last of its message.
    pub last: bool,
    /// RSV1: the message is compressed (RFC 7692 section 6).
    pub packed: bool,
    pub kind: Kind,
    pub mask: Option<[u8; 4]>,
    /// Bytes of the payload.
    pub len: u64,
}

impl Frame {
    /// None while the head is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let Some([first, second]) = bytes.first_chunk::<2>().copied() else {
            return Ok(None);
        };
        let kind = kind(first & 0x0f)?;
        if first & 0x30 != 0 {
            return Err("reserved bits of a frame are set");
        }
        let Some((len, at)) = length(second & 0x7f, bytes) else {
            return Ok(None);
        };
        let mask = match second & 0x80 {
            0 => None,
            _ => match bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
                Some(mask) => Some(*mask),
                None => return Ok(None),
            },
        };
        let frame = Self {
            last: first & 0x80 != 0,
            packed: first & 0x40 != 0,
            kind,
            mask,
            len,
        };
        frame.checked().map(Some)
    }

    pub fn is_control(&self) -> bool {
        matches!(self.kind, Kind::Close | Kind::Heartbeat)
    }

    fn checked(self) -> Result<Self, &'static str> {
        let whole = self.last && !self.packed && self.len <= CONTROL_MAX;
        if self.is_control() && !whole {
            return Err("control frame is long, compressed or in parts");
        }
        match self.len >> 63 {
            0 => Ok(self),
            _ => Err("length of a frame is negative"),
        }
    }
}

fn kind(opcode: u8) -> Result<Kind, &'static str> {
    Ok(match opcode {
        0x0 => Kind::Continuation,
        0x1 => Kind::Text,
        0x2 => Kind::Binary,
        0x8 => Kind::Close,
        0x9 | 0xa => Kind::Heartbeat,
        _ => return Err("reserved kind of frame"),
    })
}

/// The length of the payload and where the head goes on.
fn length(short: u8, bytes: &[u8]) -> Option<(u64, usize)> {
    let rest = bytes.get(2..)?;
    match short {
        126 => rest
            .first_chunk()
            .map(|len| (u64::from(u16::from_be_bytes(*len)), 4)),
        127 => rest.first_chunk().map(|len| (u64::from_be_bytes(*len), 10)),
        short => Some((u64::from(short), 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_heads_of_the_rfc() {
        // Section 5.7.
        let head = |bytes: &[u8]| Frame::parse(bytes).unwrap().unwrap();
        let hello = head(&[0x81, 0x05]);
        assert!(hello.last && hello.mask.is_none() && hello.kind == Kind::Text && hello.len == 5);
        assert_eq!(
            head(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]).mask,
            Some([0x37, 0xfa, 0x21, 0x3d])
        );
        assert_eq!(head(&[0x82, 0x7e, 0x01, 0x00]).len, 256);
        assert_eq!(head(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]).len, 65536);
    }

    #[test]
    fn a_head_in_parts_is_not_judged() {
        let head = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4];
        for cut in 0..head.len() {
            assert_eq!(Frame::parse(&head[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(Frame::parse(&head).unwrap().unwrap().len, 65536);
    }

    #[test]
    fn what_no_peer_may_send_is_refused() {
        for head in [
            &[0x83, 0x00][..],
            &[0x91, 0x00],
            &[0x09, 0x00],
            &[0x89, 0x7e, 0x00, 0x80],
            &[0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(Frame::parse(head).is_err(), "{head:x?}");
        }
    }
}
