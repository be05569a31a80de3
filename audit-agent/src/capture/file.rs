//! Capture files: the inputs of the pure core, in order, so that a run can be repeated exactly.
//!
//! In and out: [`Input`]s. A file begins with `AUDITCAP`, the format's and the ABI's version (u16 LE each) and 4 zero
//! bytes; then frames of kind (u8: 1 kernel event, 2 host fact), length (u32 LE) and bytes: a ring-buffer event as the
//! kernel wrote it, or a fact as JSON. Never: a panic on what is in a file. It holds content: keep it like the servers' own
//! data.

use crate::event::{HostFact, Input};
use audit_common::abi::ABI_VERSION;
use audit_common::decode::{AbiError, Event};
use std::io::{self, Read, Write};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"AUDITCAP";
const FORMAT: u16 = 1;
const KERNEL: u8 = 1;
const HOST: u8 = 2;
/// Longest frame; an event is 18 KiB at most and a fact a few KiB.
const FRAME_MAX: u32 = 1024 * 1024;

#[derive(Debug, Error)]
pub enum CaptureError {
    #[error("cannot use the capture file: {0}")]
    Io(#[from] io::Error),
    #[error("not a capture file: make one with `audit-agent record`")]
    Magic,
    #[error(
        "format {format} and event version {abi} are not known to this version of audit-agent (1 and {ABI_VERSION})"
    )]
    Version { format: u16, abi: u16 },
    #[error("frame {frame} is damaged: {reason}")]
    Frame { frame: u64, reason: String },
}

#[derive(Debug)]
pub struct Writer<W> {
    out: W,
}

impl<W: Write> Writer<W> {
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        out.write_all(&FORMAT.to_le_bytes())?;
        out.write_all(&ABI_VERSION.to_le_bytes())?;
        out.write_all(&[0; 4])?;
        Ok(Self { out })
    }

    /// An event as it came from the ring buffer.
    pub fn kernel(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(KERNEL, bytes)
    }

    pub fn host(&mut self, fact: &HostFact) -> io::Result<()> {
        self.frame(HOST, &serde_json::to_vec(fact)?)
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.out.write_all(&[kind])?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(bytes)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    frame: u64,
    bytes: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub fn new(mut input: R) -> Result<Self, CaptureError> {
        let mut head = [0; 16];
        input.read_exact(&mut head).map_err(|_| CaptureError::Magic)?;
        let [magic @ .., f0, f1, a0, a1, _, _, _, _] = head;
        let (format, abi) = (u16::from_le_bytes([f0, f1]), u16::from_le_bytes([a0, a1]));
        if magic != *MAGIC {
            return Err(CaptureError::Magic);
        }
        if format != FORMAT || abi != ABI_VERSION {
            return Err(CaptureError::Version { format, abi });
        }
        Ok(Self {
            input,
            frame: 0,
            bytes: Vec::new(),
        })
    }

    /// The next input, or None at the end.
    pub fn next_input(&mut self) -> Result<Option<Input<'_>>, CaptureError> {
        let mut head = [0; 5];
        match self.input.read(&mut head[..1])? {
            0 => return Ok(None),
            _ => self
                .input
                .read_exact(&mut head[1..])
                .map_err(|_| self.damaged("it is cut off"))?,
        }
        self.frame += 1;
        let [kind, length @ ..] = head;
        let len = u32::from_le_bytes(length);
        if len > FRAME_MAX {
            return Err(self.damaged("it is over the longest that there is"));
        }
        self.bytes.resize(len as usize, 0);
        let read = self.input.read_exact(&mut self.bytes);
        read.map_err(|_| self.damaged("it is cut off"))?;
        let frame = self.frame;
        let damaged = |reason: String| CaptureError::Frame { frame, reason };
        match kind {
            KERNEL => {
                let event =
                    Event::parse(&self.bytes).map_err(|error: AbiError| damaged(error.to_string()))?;
                Ok(Some(Input::Kernel(event)))
            }
            HOST => {
                let fact = serde_json::from_slice(&self.bytes).map_err(|error| damaged(error.to_string()))?;
                Ok(Some(Input::Host(fact)))
            }
            other => Err(damaged(format!("unknown kind {other}"))),
        }
    }

    fn damaged(&self, reason: &str) -> CaptureError {
        CaptureError::Frame {
            frame: self.frame,
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes).unwrap();
        writer.host(&HostFact::Tick { boot_ns: 5 }).unwrap();
        writer
            .host(&HostFact::Stop {
                boot_ns: 6,
                reason: "test".into(),
            })
            .unwrap();
        bytes
    }

    #[test]
    fn gives_back_what_was_written() {
        let file = file();
        let mut reader = Reader::new(file.as_slice()).unwrap();
        assert!(matches!(
            reader.next_input(),
            Ok(Some(Input::Host(HostFact::Tick { boot_ns: 5 })))
        ));
        assert!(matches!(
            reader.next_input(),
            Ok(Some(Input::Host(HostFact::Stop { .. })))
        ));
        assert!(matches!(reader.next_input(), Ok(None)));
    }

    #[test]
    fn says_where_a_file_is_cut() {
        let file = file();
        let mut reader = Reader::new(&file[..file.len() - 1]).unwrap();
        reader.next_input().unwrap();
        assert_eq!(
            reader.next_input().unwrap_err().to_string(),
            "frame 2 is damaged: it is cut off"
        );
        assert!(matches!(Reader::new(&b"PNG"[..]), Err(CaptureError::Magic)));
    }

    proptest! {
        #[test]
        fn hostile_files_do_no_harm(tail in any::<Vec<u8>>()) {
            let bytes = [&file()[..16], &tail].concat();
            let mut reader = Reader::new(bytes.as_slice()).unwrap();
            while let Ok(Some(_)) = reader.next_input() {}
        }
    }
}
