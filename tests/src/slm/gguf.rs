//! Writes GGUF version 3 files: the few value kinds and the one tensor type that a tiny model needs.
//!
//! Layout: magic, version, counts, key-value pairs, tensor descriptions, padding, tensor data.

use std::io::{self, Write};

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
/// Every tensor starts at a multiple of this, counted from the start of the data.
const ALIGNMENT: usize = 32;
/// `GGML_TYPE_F32`.
const TENSOR_F32: u32 = 0;

/// A metadata value.
#[derive(Debug)]
pub enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
}

impl Value {
    fn kind(&self) -> u32 {
        match self {
            Self::U32(_) => 4,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::Text(_) => 8,
            Self::Texts(_) | Self::F32s(_) | Self::I32s(_) => 9,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::Text(value) => text(out, value),
            Self::Texts(values) => {
                array_head(out, 8, values.len());
                values.iter().for_each(|value| text(out, value));
            }
            Self::F32s(values) => {
                array_head(out, 6, values.len());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
            Self::I32s(values) => {
                array_head(out, 5, values.len());
                values.iter().for_each(|value| out.extend(value.to_le_bytes()));
            }
        }
    }
}

fn count(out: &mut Vec<u8>, value: usize) {
    out.extend((value as u64).to_le_bytes());
}

fn text(out: &mut Vec<u8>, value: &str) {
    count(out, value.len());
    out.extend(value.as_bytes());
}

fn array_head(out: &mut Vec<u8>, element_kind: u32, length: usize) {
    out.extend(element_kind.to_le_bytes());
    count(out, length);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

/// A vector (one row) or a matrix, row by row.
#[derive(Debug)]
pub struct Tensor {
    pub name: String,
    /// Empty for a vector; ggml counts dimensions from the fastest one.
    pub rows: Option<usize>,
    pub columns: usize,
    pub values: Vec<f32>,
}

/// Everything that goes into a file, in file order.
#[derive(Debug, Default)]
pub struct File {
    pub metadata: Vec<(&'static str, Value)>,
    pub tensors: Vec<Tensor>,
}

impl File {
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut head = Vec::new();
        head.extend(MAGIC);
        head.extend(VERSION.to_le_bytes());
        count(&mut head, self.tensors.len());
        count(&mut head, self.metadata.len());
        for (key, value) in &self.metadata {
            text(&mut head, key);
            head.extend(value.kind().to_le_bytes());
            value.write(&mut head);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            describe(&mut head, tensor, data.len());
            tensor
                .values
                .iter()
                .for_each(|value| data.extend(value.to_le_bytes()));
            pad(&mut data);
        }
        pad(&mut head);
        to.write_all(&head)?;
        to.write_all(&data)
    }
}

fn describe(out: &mut Vec<u8>, tensor: &Tensor, offset: usize) {
    text(out, &tensor.name);
    out.extend(if tensor.rows.is_some() { 2_u32 } else { 1 }.to_le_bytes());
    count(out, tensor.columns);
    if let Some(rows) = tensor.rows {
        count(out, rows);
    }
    out.extend(TENSOR_F32.to_le_bytes());
    count(out, offset);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_aligned_data_after_its_head() -> io::Result<()> {
        let tensor = Tensor {
            name: "t".into(),
            rows: Some(2),
            columns: 3,
            values: vec![1.0; 6],
        };
        let file = File {
            metadata: vec![("general.architecture", Value::Text("llama".into()))],
            tensors: vec![tensor],
        };
        let mut bytes = Vec::new();
        file.write(&mut bytes)?;
        assert_eq!(&bytes[..8], b"GGUF\x03\0\0\0");
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        assert_eq!(&bytes[bytes.len() - ALIGNMENT..][..4], 1.0_f32.to_le_bytes());
        Ok(())
    }
}
