//! Fields of a protobuf message, without its schema.
//!
//! In: the bytes of one message. Out: its fields in their order, numbers and bytes. Never: a field that was cut; what follows
//! a byte that makes no sense is left out, and that it was is said.
//!
//! Source: protobuf.dev/programming-guides/encoding.

/// A field's value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// A varint, or one of the fixed widths.
    Number(u64),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message; ends early, with `broken` set, at what is none.
#[derive(Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    pub broken: bool,
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        Self {
            rest: message,
            broken: false,
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn fixed(&mut self, len: u64) -> Option<Value<'a>> {
        let bytes = self.take(len)?.iter().rev();
        Some(Value::Number(
            bytes.fold(0, |value, byte| value << 8 | u64::from(*byte)),
        ))
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.fixed(8)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.fixed(4)?,
            // Groups are not used any more.
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken || self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        self.broken = field.is_none();
        field
    }
}

/// The bytes of each field with this number.
pub fn all(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    Fields::new(message).filter_map(move |(found, value)| match value {
        Value::Bytes(bytes) if found == number => Some(bytes),
        _ => None,
    })
}

/// The text of the last field with this number, as protobuf has it, if it is not empty.
pub fn text(message: &[u8], number: u64) -> Option<String> {
    let bytes = all(message, number).last().filter(|bytes| !bytes.is_empty())?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// The last number with this field, as protobuf has it. One that is zero is most often left out.
pub fn number(message: &[u8], number: u64) -> Option<u64> {
    let numbers = Fields::new(message).filter_map(|(found, value)| match value {
        Value::Number(value) if found == number => Some(value),
        _ => None,
    });
    numbers.last()
}

/// A `float` among them.
pub fn float(message: &[u8], field: u64) -> Option<f32> {
    let bits = u32::try_from(number(message, field)?).ok()?;
    Some(f32::from_bits(bits)).filter(|float| float.is_finite())
}

/// The values of a field that is a list of `float`, packed or not.
pub fn floats(message: &[u8], number: u64) -> impl Iterator<Item = f32> {
    let bits = Fields::new(message).flat_map(move |(found, value)| {
        let (one, packed) = match value {
            Value::Number(bits) if found == number => (u32::try_from(bits).ok(), &[][..]),
            Value::Bytes(packed) if found == number => (None, packed),
            _ => (None, &[][..]),
        };
        let (packed, _) = packed.as_chunks::<4>();
        one.into_iter()
            .chain(packed.iter().map(|bytes| u32::from_le_bytes(*bytes)))
    });
    bits.map(f32::from_bits)
}

/// The values of a field that is a list of numbers of variable length, packed or not.
pub fn varints(message: &[u8], number: u64) -> impl Iterator<Item = u64> {
    Fields::new(message).flat_map(move |(found, value)| {
        let (one, packed) = match value {
            Value::Number(one) if found == number => (Some(one), &[][..]),
            Value::Bytes(packed) if found == number => (None, packed),
            _ => (None, &[][..]),
        };
        let mut packed = Fields::new(packed);
        let rest = std::iter::from_fn(move || packed.varint());
        one.into_iter().chain(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_wire_type() {
        let message = b"\x08\x96\x01\x12\x02hi\x19\x01\0\0\0\0\0\0\0\x25\x02\0\0\0";
        let fields: Vec<_> = Fields::new(message).collect();
        let expected = [
            (1, Value::Number(150)),
            (2, Value::Bytes(b"hi")),
            (3, Value::Number(1)),
            (4, Value::Number(2)),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_field_that_is_cut_is_none() {
        let mut fields = Fields::new(b"\x08\x01\x12\x05hi");
        assert_eq!(fields.next(), Some((1, Value::Number(1))));
        assert_eq!((fields.next(), fields.broken), (None, true));
    }

    #[test]
    fn lists_are_the_same_packed_or_not() {
        let packed = b"\x0a\x03\x01\x96\x01\x12\x08\0\0\x80\x3f\0\0\0\x40";
        let single = b"\x08\x01\x08\x96\x01\x15\0\0\x80\x3f\x15\0\0\0\x40";
        for message in [&packed[..], single] {
            assert_eq!(varints(message, 1).collect::<Vec<_>>(), [1, 150]);
            assert_eq!(floats(message, 2).collect::<Vec<_>>(), [1.0, 2.0]);
        }
        assert_eq!((number(single, 1), float(single, 2)), (Some(150), Some(2.0)));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in any::<Vec<u8>>()) {
            prop_assert!(Fields::new(&bytes).count() <= bytes.len());
            prop_assert!(floats(&bytes, 1).count() <= bytes.len());
            prop_assert!(varints(&bytes, 1).count() <= bytes.len());
        }
    }
}
