//! Content codings (RFC 9110 section 8.4.1): bytes in, decoded bytes out as soon as they can be told.
//!
//! In: body bytes in order. Out: decoded bytes. Never: more than [`limits::INFLATED_BYTES`] or
//! [`limits::INFLATED_RATIO`] times the input. The decoders are memory-safe ones, since the bytes are hostile.

use crate::limits;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use std::io::Write;

/// Input is given to a decoder in pieces of this size, so that what one piece may grow to is bounded.
const PIECE: usize = 4096;

const BROKEN: &str = "broken content coding";

enum Decoder {
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Deflate(Box<DeflateDecoder<Vec<u8>>>),
    Brotli(Box<brotli_decompressor::DecompressorWriter<Vec<u8>>>),
    Zstd(Box<Zstd>),
}

/// A stack of codings, outermost first.
#[derive(Default)]
pub struct Codings {
    stack: Vec<Decoder>,
    /// `deflate` is decided by its first byte: most senders mean zlib, some send it bare.
    undecided_deflate: bool,
    input: u64,
    output: u64,
    /// Set once; nothing is decoded any more.
    failed: Option<&'static str>,
}

impl std::fmt::Debug for Codings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codings")
            .field("depth", &self.stack.len())
            .field("failed", &self.failed)
            .finish()
    }
}

impl Codings {
    /// From the values of Content-Encoding, in the order in which they were applied. An unknown one makes the
    /// body pass as it is, and fail at its end.
    pub fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut codings = Self::default();
        for name in values.flat_map(|value| value.split(',')).map(str::trim) {
            match name.to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings.push(Decoder::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
                "deflate" => codings.undecided_deflate = true,
                "br" => {
                    let decoder = brotli_decompressor::DecompressorWriter::new(Vec::new(), PIECE);
                    codings.push(Decoder::Brotli(Box::new(decoder)));
                }
                "zstd" => codings.push(Decoder::Zstd(Box::default())),
                _ => codings.failed = Some("unknown content coding"),
            }
        }
        codings
    }

    fn push(&mut self, decoder: Decoder) {
        // The last coding applied is the first to undo; two are the most that is ever seen.
        if self.stack.len() == 2 {
            self.failed = Some("too many content codings");
        } else {
            self.stack.insert(0, decoder);
        }
    }

    pub fn is_identity(&self) -> bool {
        self.stack.is_empty() && !self.undecided_deflate
    }

    pub fn failed(&self) -> Option<&'static str> {
        self.failed
    }

    /// A hole in the input: what follows can't be decoded.
    pub fn broken(&mut self) {
        if !self.is_identity() {
            self.failed.get_or_insert("bytes are missing before it");
        }
    }

    /// Decodes `data`; `each` gets what came out.
    pub fn decode(&mut self, data: &[u8], mut each: impl FnMut(&[u8])) {
        if self.is_identity() {
            each(data);
            return;
        }
        self.decide_deflate(data);
        for piece in data.chunks(PIECE) {
            if self.failed.is_some() {
                return;
            }
            self.input += piece.len() as u64;
            if let Err(why) = self.through_all(piece, &mut each) {
                self.failed = Some(why);
            }
        }
    }

    fn decide_deflate(&mut self, data: &[u8]) {
        const ZLIB_METHOD: u8 = 8;
        if self.undecided_deflate
            && let Some(first) = data.first()
        {
            self.undecided_deflate = false;
            self.push(match first & 0x0f == ZLIB_METHOD {
                true => Decoder::Zlib(Box::new(ZlibDecoder::new(Vec::new()))),
                false => Decoder::Deflate(Box::new(DeflateDecoder::new(Vec::new()))),
            });
        }
    }

    fn through_all(&mut self, piece: &[u8], each: &mut impl FnMut(&[u8])) -> Result<(), &'static str> {
        let mut data = piece.to_vec();
        for decoder in &mut self.stack {
            let mut out = Vec::new();
            for part in data.chunks(PIECE) {
                out.append(&mut decoder.decode(part)?);
                if out.len() as u64 > limits::INFLATED_BYTES {
                    return Err("decoded body is over its cap");
                }
            }
            data = out;
        }
        self.output += data.len() as u64;
        let allowed = self
            .input
            .saturating_mul(limits::INFLATED_RATIO)
            .min(limits::INFLATED_BYTES);
        if self.output > allowed {
            return Err("decoded body is over its cap");
        }
        if !data.is_empty() {
            each(&data);
        }
        Ok(())
    }
}

impl Decoder {
    fn decode(&mut self, data: &[u8]) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::Gzip(decoder) => {
                decoder.write_all(data).map_err(|_| BROKEN)?;
                decoder.flush().map_err(|_| BROKEN)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Zlib(decoder) => {
                decoder.write_all(data).map_err(|_| BROKEN)?;
                decoder.flush().map_err(|_| BROKEN)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Deflate(decoder) => {
                decoder.write_all(data).map_err(|_| BROKEN)?;
                decoder.flush().map_err(|_| BROKEN)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Brotli(decoder) => {
                decoder.write_all(data).map_err(|_| BROKEN)?;
                decoder.flush().map_err(|_| BROKEN)?;
                Ok(std::mem::take(decoder.get_mut()))
            }
            Self::Zstd(decoder) => decoder.decode(data),
        }
    }
}

/// Zstandard frames (RFC 8878), block by block: a block grows to 128 KiB at most. The decoder keeps a window back until
/// the frame ends, so what is streamed in this coding comes late.
#[derive(Default)]
struct Zstd {
    waiting: Vec<u8>,
    frame: Option<Frame>,
}

struct Frame {
    decoder: ruzstd::decoding::FrameDecoder,
    /// 4 bytes of checksum follow the last block.
    checksum: bool,
}

/// The longest frame header.
const ZSTD_HEADER_MAX: usize = 18;
/// Larger windows are not for HTTP (RFC 9659).
const ZSTD_WINDOW_MAX: u64 = 8 * 1024 * 1024;

impl Zstd {
    fn decode(&mut self, data: &[u8]) -> Result<Vec<u8>, &'static str> {
        self.waiting.extend_from_slice(data);
        let mut out = Vec::new();
        while self.frame.is_some() || self.start_frame()? {
            let Some(block) = self.block_len() else { break };
            let Some(frame) = &mut self.frame else { break };
            let mut source = self.waiting.get(..block).unwrap_or_default();
            let one = ruzstd::decoding::BlockDecodingStrategy::UptoBlocks(1);
            let finished = frame
                .decoder
                .decode_blocks(&mut source, one)
                .map_err(|_| BROKEN)?;
            out.extend(frame.decoder.collect().unwrap_or_default());
            if finished {
                self.frame = None;
            }
            self.waiting.drain(..block);
            if out.len() as u64 > limits::INFLATED_BYTES {
                return Err("decoded body is over its cap");
            }
        }
        Ok(out)
    }

    /// Bytes of the next block with what belongs to it, when all of them are there (RFC 8878 section 3.1.1.2).
    fn block_len(&self) -> Option<usize> {
        const RLE: usize = 1;
        let [a, b, c] = *self.waiting.first_chunk::<3>()?;
        let header = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        let content = if header >> 1 & 3 == RLE { 1 } else { header >> 3 };
        let last = header & 1 == 1 && self.frame.as_ref().is_some_and(|frame| frame.checksum);
        let len = 3 + content + if last { 4 } else { 0 };
        (self.waiting.len() >= len).then_some(len)
    }

    /// Begins a frame; false while its header is not whole.
    fn start_frame(&mut self) -> Result<bool, &'static str> {
        let mut decoder = ruzstd::decoding::FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_MAX);
        let mut source = self.waiting.as_slice();
        if decoder.init(&mut source).is_err() {
            return if self.waiting.len() < ZSTD_HEADER_MAX {
                Ok(false)
            } else {
                Err(BROKEN)
            };
        }
        const CHECKSUM_FLAG: u8 = 4;
        let checksum = self
            .waiting
            .get(4)
            .is_some_and(|descriptor| descriptor & CHECKSUM_FLAG != 0);
        let read = self.waiting.len() - source.len();
        self.waiting.drain(..read);
        self.frame = Some(Frame { decoder, checksum });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(coding: &str, data: &[u8], cut: usize) -> (Vec<u8>, Option<&'static str>) {
        let mut codings = Codings::new([coding].into_iter());
        let mut out = Vec::new();
        for piece in data.chunks(cut) {
            codings.decode(piece, |bytes| out.extend_from_slice(bytes));
        }
        (out, codings.failed())
    }

    #[test]
    fn decodes_gzip_however_it_is_cut() {
        let text = b"data: {\"a\":1}\n\n".repeat(500);
        let mut packed = gzip(&text[..1000]);
        packed.extend(gzip(&text[1000..]));
        for cut in [1, 7, 4096, packed.len()] {
            assert_eq!(decode("gzip", &packed, cut), (text.clone(), None), "cut {cut}");
        }
    }

    #[test]
    fn decodes_deflate_with_and_without_its_wrapper() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"hello hello hello").unwrap();
        assert_eq!(
            decode("deflate", &zlib.finish().unwrap(), 3).0,
            b"hello hello hello"
        );
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(b"hello hello hello").unwrap();
        assert_eq!(
            decode("deflate", &bare.finish().unwrap(), 3).0,
            b"hello hello hello"
        );
    }

    #[test]
    fn decodes_zstd_however_it_is_cut() {
        let text = b"The quick brown fox. ".repeat(200);
        let packed =
            ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        for cut in [1, 5, packed.len()] {
            assert_eq!(decode("zstd", &packed, cut), (text.clone(), None), "cut {cut}");
        }
    }

    #[test]
    fn stops_a_bomb_at_its_cap() {
        let packed = gzip(&vec![0; 80 << 20]);
        let (out, failed) = decode("gzip", &packed, 1 << 20);
        assert_eq!(failed, Some("decoded body is over its cap"));
        assert!(out.len() as u64 <= limits::INFLATED_BYTES);
    }

    #[test]
    fn says_what_it_cannot_decode() {
        assert_eq!(
            decode("gzip", b"not gzip at all", 100).1,
            Some("broken content coding")
        );
        assert_eq!(
            decode("snappy", b"abc", 100),
            (b"abc".to_vec(), Some("unknown content coding"))
        );
    }
}
