//! Where the probe of a function costs least.
//!
//! A probe replaces an instruction. Of most kinds the kernel then executes a copy in a single step, which takes a trap of its own;
//! on a virtual machine, where the hypervisor wants to know of each, that is ten times what the rest costs. Pushes, jumps, calls
//! and no-operations it emulates instead (Linux arch/x86/kernel/uprobes.c), and one of them is often near.
//!
//! In: functions' first instructions, untrusted, and what the programs have to find as their callers left it. Out: the place for each,
//! in itself or in the function that its thin wrapper calls. Never: an offset behind a branch, or where an argument or the return address is
//! not in its place any more; the inside of an instruction.

use super::elf::{Function, Image, Site};
use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind,
    Register,
};

/// How far a function is looked at.
const LOOKED_AT: u64 = 128;

/// What has to be as the caller left it where a probe is.
struct Needs {
    arguments: &'static [Register],
    /// The return address on top of the stack: a return probe takes it from there.
    returns: bool,
}

/// By the psABI of x86-64, and by Go's own (`abi-internal.md`).
fn needs(function: Function) -> Needs {
    use Register::{R8, R14, RAX, RBX, RCX, RDI, RSI};
    let (arguments, returns): (&[Register], bool) = match function {
        Function::Read | Function::Write => (&[RDI, RSI], true),
        Function::ReadEx | Function::WriteEx => (&[RDI, RSI, RCX], true),
        Function::WriteEx2 => (&[RDI, RSI, R8], true),
        Function::New => (&[], true),
        Function::Init => (&[RDI], true),
        Function::Free => (&[RDI], false),
        // R14 is the goroutine.
        Function::GoCall => (&[RAX, RBX, RCX, R14], false),
        Function::GoHandshake | Function::GoClose => (&[RAX], false),
        Function::GoReadReturn | Function::GoWriteReturn => (&[], false),
    };
    Needs { arguments, returns }
}

/// A function and its address.
type Named = (Function, u64);

/// The code at an address, as much as is looked at.
type Code64<'a> = &'a dyn Fn(u64) -> Option<Vec<u8>>;

/// Places for all of `functions`, of which one whose calls all lead through the place of another has none.
pub fn of(image: &Image<'_>, functions: &[Named]) -> Vec<Site> {
    let chosen = match image.is_x86_64() {
        true => choose(&|address| image.code(address, LOOKED_AT), functions),
        false => functions.to_vec(),
    };
    let site = |(function, address)| image.file_offset(address).map(|offset| Site { function, offset });
    chosen.into_iter().filter_map(site).collect()
}

/// Where each function is probed, as another function's place where that is the inner one's.
fn choose(code: Code64<'_>, functions: &[Named]) -> Vec<Named> {
    let known: Vec<u64> = functions.iter().map(|(_, address)| *address).collect();
    let inner: Vec<Inner> = functions
        .iter()
        .filter_map(|named| inner(code, *named, &known))
        .collect();
    let mut chosen: Vec<Named> = Vec::new();
    for named in functions {
        let place = match inner.iter().find(|inner| inner.wrapper == *named) {
            Some(inner) => Some(inner.place),
            None => direct(code, *named).or_else(|| {
                let covered = inner.iter().any(|inner| inner.covers(code, *named));
                (!covered).then_some(*named)
            }),
        };
        chosen.extend(place.filter(|place| !chosen.contains(place)));
    }
    chosen
}

/// The place of one function on its own.
fn direct(code: Code64<'_>, (function, address): Named) -> Option<Named> {
    let at = unstepped(&code(address)?, &needs(function))?;
    Some((function, address.checked_add(at)?))
}

/// What a wrapper calls with the arguments that it was called with, and nothing else: `SSL_read_ex` of OpenSSL is one around the
/// function that `SSL_read` calls too.
struct Inner {
    wrapper: Named,
    address: u64,
    place: Named,
}

impl Inner {
    /// Whether a function of the same direction gets its bytes through this one.
    fn covers(&self, code: Code64<'_>, (function, address): Named) -> bool {
        let reads = |function| matches!(function, Function::Read | Function::ReadEx);
        let writes = |function| matches!(function, Function::Write | Function::WriteEx | Function::WriteEx2);
        let wrapper = self.wrapper.0;
        let same = reads(wrapper) && reads(function) || writes(wrapper) && writes(function);
        let ways = [self.address, self.wrapper.1];
        same && code(address).is_some_and(|code| leads_to(&code, address, &ways))
    }
}

fn inner(code: Code64<'_>, wrapper: Named, known: &[u64]) -> Option<Inner> {
    let (function, address) = wrapper;
    let is_wrapper = matches!(
        function,
        Function::ReadEx | Function::WriteEx | Function::WriteEx2
    );
    let called = wrapped(&code(address)?, address, &needs(function)).filter(|_| is_wrapper)?;
    // A function of the interface is called as it is declared, and not as its caller is.
    let place = direct(code, (function, called)).filter(|_| !known.contains(&called))?;
    Some(Inner {
        wrapper,
        address: called,
        place,
    })
}

fn instructions(code: &[u8], address: u64) -> impl Iterator<Item = Instruction> {
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    decoder
        .into_iter()
        .take_while(|instruction| instruction.code() != Code::INVALID)
}

/// The first instruction that the kernel emulates, on the only way that leads there.
fn unstepped(code: &[u8], needs: &Needs) -> Option<u64> {
    let mut info = InstructionInfoFactory::new();
    for instruction in instructions(code, 0) {
        if is_emulated(&instruction) {
            return Some(instruction.ip());
        }
        let goes_on = instruction.flow_control() == FlowControl::Next;
        if !goes_on || spoils(&mut info, &instruction, needs) {
            return None;
        }
    }
    None
}

/// The function that is called before any branch, with the arguments in their registers.
fn wrapped(code: &[u8], address: u64, needs: &Needs) -> Option<u64> {
    let mut info = InstructionInfoFactory::new();
    let needs = Needs {
        returns: false,
        ..*needs
    };
    for instruction in instructions(code, address) {
        match instruction.flow_control() {
            FlowControl::Next if !spoils(&mut info, &instruction, &needs) => {}
            FlowControl::Call => return target(&instruction),
            _ => return None,
        }
    }
    None
}

/// Whether a function's first instructions, up to its first return or jump, have a call or a jump to one of `addresses`.
fn leads_to(code: &[u8], address: u64, addresses: &[u64]) -> bool {
    for instruction in instructions(code, address) {
        if target(&instruction).is_some_and(|target| addresses.contains(&target)) {
            return true;
        }
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::ConditionalBranch | FlowControl::Call => {}
            _ => return false,
        }
    }
    false
}

/// Where a direct call or jump leads.
fn target(instruction: &Instruction) -> Option<u64> {
    let direct = matches!(
        instruction.flow_control(),
        FlowControl::Call | FlowControl::UnconditionalBranch
    );
    (direct && instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target())
}

/// As `branch_setup_xol_ops` and `push_setup_xol_ops` have it: near jumps, conditional ones too, one-byte no-operations, pushes of
/// a whole register. With a prefix, by which they are longer, some of them are refused. Calls are left out: where a process has a
/// shadow stack, not every kernel that emulates them puts the return address there too.
fn is_emulated(instruction: &Instruction) -> bool {
    match (instruction.code(), instruction.len()) {
        (Code::Push_r64 | Code::Nopd, 1) | (Code::Jmp_rel32_64, 5) | (Code::Jmp_rel8_64, 2) => true,
        (Code::Push_r64, 2) => instruction.op0_register() >= Register::R8,
        (_, len) => {
            instruction.is_jcc_short() && len == 2
                || instruction.is_jcc_near() && len == 6 && instruction.op0_kind() == OpKind::NearBranch64
        }
    }
}

/// Whether an instruction changes what is needed behind it.
fn spoils(info: &mut InstructionInfoFactory, instruction: &Instruction, needs: &Needs) -> bool {
    info.info(instruction).used_registers().iter().any(|used| {
        let written = !matches!(
            used.access(),
            OpAccess::Read | OpAccess::CondRead | OpAccess::None
        );
        let register = used.register().full_register();
        written && (needs.arguments.contains(&register) || needs.returns && register == Register::RSP)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(function: Function, code: &[u8]) -> Option<u64> {
        unstepped(code, &needs(function))
    }

    #[test]
    fn a_push_at_the_begin_is_the_place() {
        // push r13; push rbp
        assert_eq!(at(Function::ReadEx, b"\x41\x55\x55"), Some(0));
        // endbr64; push rbp
        assert_eq!(at(Function::Read, b"\xf3\x0f\x1e\xfa\x55"), Some(4));
        // push rbp with a prefix that says nothing
        assert_eq!(at(Function::Read, b"\x40\x55"), None);
    }

    #[test]
    fn a_jump_is_one_as_long_as_nothing_is_spoiled() {
        // gnutls_record_send: xor r8d, r8d; xor ecx, ecx; jmp
        let send = b"\x45\x31\xc0\x31\xc9\xe9\x86\x9c\xff\xff";
        assert_eq!(at(Function::Write, send), Some(5));
        // The same is no place for what needs rcx.
        assert_eq!(at(Function::WriteEx, send), None);
        // SSL_free: test rdi, rdi; je
        assert_eq!(at(Function::Free, b"\x48\x85\xff\x74\x63"), Some(3));
        // Go: cmp rsp, [r14+16]; jbe
        assert_eq!(at(Function::GoCall, b"\x49\x3b\x66\x10\x76\x2b"), Some(4));
    }

    #[test]
    fn a_return_address_that_is_not_on_top_is_no_place_for_a_return_probe() {
        // sub rsp, 24; test edx, edx; js
        let code = b"\x48\x83\xec\x18\x85\xd2\x78\x19";
        assert_eq!(at(Function::Read, code), None);
        assert_eq!(at(Function::Free, code), Some(6));
        // lea rsp, [rsp-8]; push rbp
        assert_eq!(at(Function::Read, b"\x48\x8d\x64\x24\xf8\x55"), None);
    }

    #[test]
    fn arguments_that_are_overwritten_and_other_ends_are_no_places() {
        // mov edi, 1; push rbp
        assert_eq!(at(Function::Read, b"\xbf\x01\x00\x00\x00\x55"), None);
        let call = b"\x66\xe8\x00\x00\x00\x00";
        assert_eq!(at(Function::Read, call), None);
        // ret; jmp rax; a no-operation of several bytes; pushw; nothing
        for code in [
            &b"\xc3"[..],
            b"\xff\xe0",
            b"\x0f\x1f\x00",
            b"\x66\x55",
            b"\x06",
            b"",
        ] {
            assert_eq!(at(Function::Read, code), None, "{code:?}");
        }
        // nop
        assert_eq!(at(Function::Read, b"\x90"), Some(0));
    }

    #[test]
    fn a_thin_wrapper_leads_to_what_it_calls() {
        // sub rsp, 8; call +0x20
        let wrapper = b"\x48\x83\xec\x08\xe8\x20\x00\x00\x00";
        assert_eq!(wrapped(wrapper, 0x1000, &needs(Function::ReadEx)), Some(0x1029));
        // mov rcx, rsp before it: the call is with another length.
        let other = b"\x48\x83\xec\x18\x48\x89\xe1\xe8\x20\x00\x00\x00";
        assert_eq!(wrapped(other, 0x1000, &needs(Function::ReadEx)), None);
        // A branch before the call.
        let branch = b"\x85\xd2\x78\x02\xe8\x20\x00\x00\x00";
        assert_eq!(wrapped(branch, 0x1000, &needs(Function::ReadEx)), None);
    }

    #[test]
    fn a_function_leads_only_to_what_it_calls_before_it_returns() {
        // js +2; call +0x20; ret; call +0x40
        let code = b"\x78\x02\xe8\x20\x00\x00\x00\xc3\xe8\x40\x00\x00\x00";
        assert!(leads_to(code, 0x1000, &[0x1027]));
        assert!(!leads_to(code, 0x1000, &[0x104d]));
    }

    /// What is at the addresses of a library.
    fn library<'a>(parts: &'a [(u64, &'a [u8])]) -> impl Fn(u64) -> Option<Vec<u8>> + 'a {
        move |address| {
            let found = parts.iter().find(|(at, _)| *at == address);
            found.map(|(_, code)| code.to_vec())
        }
    }

    /// sub rsp, 24; test edx, edx; js; mov rcx, rsp; movsxd rdx, edx; call 0x3000
    const SSL_READ: &[u8] =
        b"\x48\x83\xec\x18\x85\xd2\x78\x0b\x48\x89\xe1\x48\x63\xd2\xe8\xed\x1f\x00\x00\xc3";
    const READS: &[Named] = &[(Function::Read, 0x1000), (Function::ReadEx, 0x2000)];

    #[test]
    fn what_both_twins_call_is_probed_in_their_place() {
        // sub rsp, 8; call 0x3000, or with -Os: push rax; call 0x3000
        let stacked = b"\x48\x83\xec\x08\xe8\xf7\x0f\x00\x00";
        let pushed = b"\x50\xe8\xfa\x0f\x00\x00";
        for twin in [&stacked[..], pushed] {
            // endbr64; push r13
            let inner = b"\xf3\x0f\x1e\xfa\x41\x55";
            let code = [(0x1000, SSL_READ), (0x2000, twin), (0x3000, inner)];
            assert_eq!(choose(&library(&code), READS), [(Function::ReadEx, 0x3004)]);
        }
    }

    #[test]
    fn a_function_that_does_not_lead_there_keeps_its_own_place() {
        let (stacked, inner) = (b"\x48\x83\xec\x08\xe8\xf7\x0f\x00\x00", b"\x55");
        // sub rsp, 24; call 0x5005; ret
        let other = b"\x48\x83\xec\x18\xe8\xfc\x3f\x00\x00\xc3";
        // push rbp
        for (own, place) in [(&other[..], 0x1000), (b"\x55", 0x1000)] {
            let code = [(0x1000, own), (0x2000, &stacked[..]), (0x3000, inner)];
            let chosen = choose(&library(&code), READS);
            assert_eq!(chosen, [(Function::Read, place), (Function::ReadEx, 0x3000)]);
        }
    }

    #[test]
    fn a_twin_around_another_function_of_the_interface_leads_nowhere() {
        // sub rsp, 8; call SSL_read
        let twin = b"\x48\x83\xec\x08\xe8\xf7\xef\xff\xff";
        let code = [(0x1000, &b"\x55"[..]), (0x2000, twin)];
        assert_eq!(choose(&library(&code), READS), READS);
    }

    #[test]
    fn an_inner_function_without_a_place_changes_nothing() {
        let (stacked, inner) = (b"\x48\x83\xec\x08\xe8\xf7\x0f\x00\x00", b"\x48\x83\xec\x08");
        let code = [(0x1000, SSL_READ), (0x2000, &stacked[..]), (0x3000, inner)];
        assert_eq!(choose(&library(&code), READS), READS);
    }
}
