//! One exchange as its client saw it, and whether a record says the same.

use anyhow::{Context, Result, ensure};
use audit_tests::client::{Caller, Seen};
use audit_tests::record::{canonical_hash, from_port, from_process, sha256, with_prompt};
use audit_tests::slm::server::LlamaServer;
use serde_json::Value;

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
            path: "/v1/chat/completions",
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

    /// Finds the one record of the exchange and compares every field that the client knows.
    pub fn check(&self, records: &[Value], server: &LlamaServer) -> Result<()> {
        self.compare(records, server)
            .with_context(|| format!("{}: {self:#?}", self.label))
    }

    fn compare(&self, records: &[Value], server: &LlamaServer) -> Result<()> {
        let record = match &self.key {
            Key::Prompt(prompt) => with_prompt(records, &canonical_hash(prompt)?)?,
            Key::Port(port) => from_port(records, *port)?,
            Key::Process(pid) => from_process(records, *pid)?,
        };
        self.compare_answer(record)
            .with_context(|| format!("{record:#}"))?;
        self.compare_parties(record, server)
            .with_context(|| format!("{record:#}"))
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

    fn compare_parties(&self, record: &Value, server: &LlamaServer) -> Result<()> {
        let model = server.model();
        same(
            "client.process.pid",
            &record["client"]["process"]["pid"],
            Some(self.caller.pid),
        )?;
        same(
            "client.process.exe",
            &record["client"]["process"]["exe"],
            self.caller.exe.to_str(),
        )?;
        same(
            "server.process.pid",
            &record["server"]["process"]["pid"],
            Some(server.pid()),
        )?;
        same(
            "server.process.exe",
            &record["server"]["process"]["exe"],
            server.exe()?.to_str(),
        )?;
        same("server.port", &record["server"]["port"], Some(server.port()))?;
        same(
            "model_files.path",
            &record["model_files"][0]["path"],
            model.to_str(),
        )
    }
}

fn same(name: &str, found: &Value, expected: Option<impl Into<Value>>) -> Result<()> {
    let Some(expected) = expected.map(Into::into) else {
        return Ok(());
    };
    ensure!(*found == expected, "{name} is {found}, the client saw {expected}");
    Ok(())
}
