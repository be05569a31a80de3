//! Where a function returns.
//!
//! In: its instructions, untrusted. Out: the offset of each return. x86-64 instructions differ in length, and a return's
//! byte occurs inside of others: a probe there would damage them, so a function that does not decode from begin to end
//! has none.

use iced_x86::{Code, Decoder, DecoderOptions};

/// `ret` of AArch64 (Arm ARM C6.2.254): return to the address in X30.
const AARCH64_RET: u32 = 0xd65f_03c0;

/// Offsets of the returns; None when there is none, or the code cannot be told apart.
pub fn offsets(code: &[u8], x86_64: bool) -> Option<Vec<u64>> {
    let returns = if x86_64 {
        x86_64_returns(code)?
    } else {
        aarch64_returns(code)
    };
    (!returns.is_empty()).then_some(returns)
}

fn x86_64_returns(code: &[u8]) -> Option<Vec<u64>> {
    let mut returns = Vec::new();
    let decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    for instruction in decoder {
        match instruction.code() {
            Code::INVALID => return None,
            Code::Retnq => returns.push(instruction.ip()),
            _ => {}
        }
    }
    Some(returns)
}

fn aarch64_returns(code: &[u8]) -> Vec<u64> {
    let words = code.chunks_exact(4).zip((0u64..).step_by(4));
    let returns = words.filter(|(word, _)| *word == AARCH64_RET.to_le_bytes());
    returns.map(|(_, offset)| offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returns_byte_inside_of_another_instruction_is_none() {
        // mov eax, 0xc3c3c3c3; ret; mov rax, [rsp+0xc3]; ret; int3
        let code = b"\xb8\xc3\xc3\xc3\xc3\xc3\x48\x8b\x84\x24\xc3\x00\x00\x00\xc3\xcc";
        assert_eq!(offsets(code, true), Some(vec![5, 14]));
    }

    #[test]
    fn code_that_does_not_decode_has_no_returns() {
        // 0x06 is no instruction in 64-bit mode.
        assert_eq!(offsets(b"\xc3\x06\xc3", true), None);
        // An instruction that is cut.
        assert_eq!(offsets(b"\xc3\xb8\x01", true), None);
        assert_eq!(offsets(b"", true), None);
    }

    #[test]
    fn finds_the_returns_of_aarch64() {
        let code = [0xd65f_03c0u32, 0xd503_201f, 0xd65f_03c0]
            .map(u32::to_le_bytes)
            .concat();
        assert_eq!(offsets(&code, false), Some(vec![0, 8]));
    }
}
