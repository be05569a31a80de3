//! One exchange as its client saw it, and whether a record says the same.

use crate::client::{Answer, Caller, Seen};
use crate::record::{canonical_hash, from_port, from_process, of_type, sha256, with_prompt};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;

/// Where chats are asked.
pub const CHAT: &str = "/v1/chat/completions";

/// The server of an exchange, as its records must name it.
#[derive(Clone, Debug)]
pub struct Party {
    /// The processes that may have answered.
    pub pids: Vec<u32>,
    /// As the kernel names it.
    pub exe: PathBuf,
    pub port: u16,
    /// The weights that it has open; None where that is not compared.
    pub model: Option<PathBuf>,
}

impl Party {
    /// Its inference records.
    pub fn records(&self, records: &[Value]) -> Vec<Value> {
        let own = |record: &&Value| record["server"]["port"] == self.port;
        of_type(records, "inference")
            .into_iter()
            .filter(own)
            .cloned()
            .collect()
    }
}

/// What no other exchange of the test has.
#[derive(Clone, Debug)]
pub enum Key {
    /// The value of `messages` or `prompt`, whose text is unique.
    Prompt(Value),
    /// The port that the only request of a connection came from.
    Port(u16),
    /// The process that made this one call. A server may refuse a request before it has read the prompt.
    Process(u32),
}

/// What the client knows; None where it does not and the record is not compared.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub label: String,
    pub key: Key,
    pub path: &'static str,
    pub status: u16,
    pub stream: Option<bool>,
    /// The whole text of the answer.
    pub text: Option<String>,
    /// As the server wrote it.
    pub finish: Option<String>,
    pub tokens: Option<(u64, u64)>,
    /// The outer None: not compared; the inner one: the record must say that nothing failed.
    pub error: Option<Option<String>>,
    pub tools: Vec<String>,
    pub caller: Caller,
}

impl Exchange {
    /// From what the `openai` package handed to its caller.
    pub fn of_openai(label: &str, seen: Seen) -> Self {
        let failed = seen.error_type.is_some() || seen.error_message.is_some();
        let called_tools = !seen.tool_calls.is_empty();
        let name = |call: &Value| call["name"].as_str().unwrap_or_default().to_owned();
        Self {
            label: format!("{label}, lane {}", seen.lane),
            key: Key::Prompt(seen.request["messages"].clone()),
            path: CHAT,
            status: seen.status,
            stream: seen.request["stream"].as_bool().or((!failed).then_some(false)),
            text: seen.text.filter(|_| !failed && !called_tools),
            finish: seen.finish_reason,
            tokens: seen.input_tokens.zip(seen.output_tokens),
            error: Some(seen.error_type),
            tools: seen.tool_calls.iter().map(name).collect(),
            caller: seen.caller,
        }
    }

    /// From a whole answer that curl got; `text` and `finish` of it are the caller's to say.
    pub fn of_curl(label: &str, path: &'static str, key: Key, answer: &Answer) -> Self {
        Self {
            label: label.into(),
            key,
            path,
            status: answer.status,
            stream: None,
            text: None,
            finish: None,
            tokens: None,
            error: Some(None),
            tools: Vec::new(),
            caller: answer.caller.clone(),
        }
    }

    /// From a chat by curl, plain or streamed, with all of its answer.
    pub fn of_chat(label: &str, request: &Value, answer: &Answer) -> Result<Self> {
        let stream = request["stream"] == true;
        let events = if stream {
            answer.events()?
        } else {
            vec![answer.json()?]
        };
        let choices = || events.iter().map(|event| &event["choices"][0]);
        let content = |choice: &'_ Value| {
            let part = if stream { "delta" } else { "message" };
            choice[part]["content"].as_str().map(String::from)
        };
        let usage = events
            .iter()
            .map(|event| &event["usage"])
            .rfind(|usage| usage.is_object());
        let tokens = |name: &str| usage.and_then(|usage| usage[name].as_u64());
        Ok(Self {
            stream: Some(stream),
            text: Some(choices().filter_map(content).collect()),
            finish: choices().find_map(|choice| choice["finish_reason"].as_str().map(String::from)),
            tokens: tokens("prompt_tokens").zip(tokens("completion_tokens")),
            ..Self::of_curl(label, CHAT, Key::Prompt(request["messages"].clone()), answer)
        })
    }

    /// Finds the one record of the exchange, compares every field that the client knows, and gives it.
    pub fn check(&self, records: &[Value], server: &Party) -> Result<Value> {
        self.compare(&server.records(records), server)
            .with_context(|| format!("{}: {self:#?}", self.label))
    }

    fn compare(&self, records: &[Value], server: &Party) -> Result<Value> {
        let record = match &self.key {
            Key::Prompt(prompt) => with_prompt(records, &canonical_hash(prompt)?)?,
            Key::Port(port) => from_port(records, *port)?,
            Key::Process(pid) => from_process(records, *pid)?,
        };
        self.compare_answer(record)
            .with_context(|| format!("{record:#}"))?;
        self.compare_parties(record, server)
            .with_context(|| format!("{record:#}"))?;
        Ok(record.clone())
    }

    fn compare_answer(&self, record: &Value) -> Result<()> {
        same("endpoint.path", &record["endpoint"]["path"], Some(self.path))?;
        same("status", &record["status"], Some(self.status))?;
        same("stream", &record["stream"], self.stream)?;
        same(
            "completion_hash",
            &record["completion_hash"],
            self.text.as_ref().map(|text| sha256(text.as_bytes())),
        )?;
        same(
            "finish_reasons_raw",
            &record["finish_reasons_raw"],
            self.finish.as_ref().map(|finish| vec![finish.clone()]),
        )?;
        same(
            "input_tokens",
            &record["input_tokens"],
            self.tokens.map(|(input, _)| input),
        )?;
        same(
            "output_tokens",
            &record["output_tokens"],
            self.tokens.map(|(_, output)| output),
        )?;
        same("error_type", &record["error_type"], self.error.clone())?;
        for (index, tool) in self.tools.iter().enumerate() {
            same(
                "tool_calls.name",
                &record["tool_calls"][index]["name"],
                Some(tool.as_str()),
            )?;
        }
        same(
            "capture.bytes_missed",
            &record["capture"]["bytes_missed"],
            Some(0),
        )
    }

    fn compare_parties(&self, record: &Value, server: &Party) -> Result<()> {
        let client = &record["client"]["process"];
        same("client.process.pid", &client["pid"], Some(self.caller.pid))?;
        same("client.process.exe", &client["exe"], self.caller.exe.to_str())?;
        let process = &record["server"]["process"];
        let known = server.pids.iter().any(|pid| process["pid"] == *pid);
        ensure!(known, "server.process.pid is none of {:?}", server.pids);
        same("server.process.exe", &process["exe"], server.exe.to_str())?;
        let model = server.model.as_ref().and_then(|model| model.to_str());
        same("model_files.path", &record["model_files"][0]["path"], model)
    }
}

fn same(name: &str, found: &Value, expected: Option<impl Into<Value>>) -> Result<()> {
    let Some(expected) = expected.map(Into::into) else {
        return Ok(());
    };
    ensure!(*found == expected, "{name} is {found}, the client saw {expected}");
    Ok(())
}
