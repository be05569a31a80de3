//! A call whose answer both ends can compute, so that its record is known before it is made.

use anyhow::{Context, Result, ensure};
use audit_tests::record;
use serde_json::{Value, json};

/// A chat request.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    pub stream: bool,
    pub prompt_bytes: usize,
    /// Words of the answer.
    pub tokens: usize,
    /// Bytes that the server's last call sends; 0 for all in one.
    pub last_call: usize,
}

impl Exchange {
    pub const fn plain() -> Self {
        Self {
            stream: false,
            prompt_bytes: 200,
            tokens: 12,
            last_call: 0,
        }
    }

    pub const fn streamed() -> Self {
        Self {
            stream: true,
            prompt_bytes: 300,
            tokens: 25,
            last_call: 0,
        }
    }

    /// The body of the request; `name` makes its prompt unlike every other.
    pub fn body(self, name: &str) -> Value {
        let start = format!("{name}: what was asked of which model and by whom? ");
        let prompt: String = start.chars().cycle().take(self.prompt_bytes).collect();
        json!({
            "model": "guest",
            "max_tokens": self.tokens,
            "seed": self.last_call,
            "stream": self.stream,
            "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": prompt}],
        })
    }
}

/// What the server makes of a request.
#[derive(Debug)]
pub struct Answer {
    pub stream: bool,
    pub words: Vec<String>,
    pub input_tokens: usize,
    pub last_call: usize,
}

impl Answer {
    pub fn to(body: &Value) -> Result<Self> {
        let prompt = body["messages"][0]["content"].as_str().context("a prompt")?;
        let tokens = body["max_tokens"].as_u64().context("max_tokens")?;
        let word = |number| format!("word{number} of {} ", prompt.len());
        Ok(Self {
            stream: body["stream"] == true,
            words: (0..tokens).map(word).collect(),
            input_tokens: prompt.len() / 4,
            last_call: usize::try_from(body["seed"].as_u64().unwrap_or(0))?,
        })
    }

    pub fn text(&self) -> String {
        self.words.concat()
    }

    pub fn usage(&self) -> Value {
        let (input, output) = (self.input_tokens, self.words.len());
        json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
    }
}

/// Checks the record of the exchange of these bodies, seen in whole by the capture path `path`.
pub fn check(found: &Value, path: &str, [request, response]: &[Vec<u8>; 2]) -> Result<()> {
    let body: Value = serde_json::from_slice(request)?;
    let answer = Answer::to(&body)?;
    let expected = [
        ("/capture/bytes_missed", json!(0)),
        ("/capture/source", json!(path)),
        ("/capture/state", json!("complete")),
        ("/status", json!(200)),
        ("/stream", json!(answer.stream)),
        ("/model", json!("guest")),
        ("/input_tokens", json!(answer.input_tokens)),
        ("/output_tokens", json!(answer.words.len())),
        (
            "/completion_hash",
            json!(record::sha256(answer.text().as_bytes())),
        ),
        ("/request_body_hash", json!(record::sha256(request))),
        ("/response_body_hash", json!(record::sha256(response))),
    ];
    for (member, value) in expected {
        let found = found.pointer(member);
        ensure!(found == Some(&value), "{member} is {found:?} and not {value}");
    }
    Ok(())
}
