//! Requests on paths that nobody knows: what their body says that they are.
//!
//! In: a POST with a JSON body. Out: what the family says whose request it looks like; of what looks like none nothing is kept.

use super::family::decoder;
use super::mcp::Mcp;
use super::openai_chat::OpenAiChat;
use super::undecoded::Undecoded;
use super::vertex::Vertex;
use super::{Decoder, End, json};
use crate::call::Call;
use crate::http::{RequestHead, ResponseHead};
use crate::limits;
use serde_json::Value;

#[derive(Debug)]
pub struct Sniffer {
    head: RequestHead,
    body: Vec<u8>,
    over_cap: bool,
    found: Option<Box<dyn Decoder>>,
}

impl Sniffer {
    /// For a request whose head allows it to be one.
    pub fn new(head: &RequestHead) -> Option<Self> {
        let kind = super::body::mime(head.headers.first("content-type"));
        let json = head.method == "POST" && kind == "application/json";
        json.then(|| Self {
            head: head.clone(),
            body: Vec::new(),
            over_cap: false,
            found: None,
        })
    }

    fn look(&self) -> Option<Box<dyn Decoder>> {
        let value = json::parse(&self.body)?;
        let has = |name: &str| value.get(name).is_some();
        let first = value.get(0).unwrap_or(&value);
        if json::text(first, "jsonrpc") == Some("2.0") && (first.get("method").is_some() || has("result")) {
            // Other protocols are JSON-RPC too; a client of MCP accepts both forms of an answer.
            return self.is_mcp(first).then(|| decoder(Mcp::default(), &self.head));
        }
        let role = value
            .get("messages")
            .and_then(|list| json::text(list.get(0)?, "role"));
        if role.is_some() {
            return Some(decoder(OpenAiChat, &self.head));
        }
        if value
            .get("instances")
            .and_then(|list| list.get(0))
            .is_some_and(|first| {
                first.get("@requestFormat").is_some()
                    || first.get("messages").is_some()
                    || first.get("inputs").is_some()
            })
        {
            return Some(decoder(Vertex::default(), &self.head));
        }
        let asks = ["prompt", "input", "inputs", "query"]
            .iter()
            .any(|name| has(name));
        (asks && json::text(&value, "model").is_some())
            .then(|| decoder(Undecoded { operation: "unknown" }, &self.head))
    }

    fn is_mcp(&self, message: &Value) -> bool {
        let headers = &self.head.headers;
        let accepts = headers.first("accept").unwrap_or_default();
        let method = json::text(message, "method").unwrap_or_default();
        headers.first("mcp-session-id").is_some()
            || headers.first("mcp-protocol-version").is_some()
            || accepts.contains("text/event-stream")
            || method == "tools/call"
            || method == "initialize"
    }
}

impl Decoder for Sniffer {
    fn request_body(&mut self, data: &[u8]) {
        let room = match self.over_cap {
            true => 0,
            false => limits::SNIFF_BYTES.saturating_sub(self.body.len()),
        };
        self.over_cap |= data.len() > room;
        self.body.extend(data.iter().take(room));
    }

    fn request_end(&mut self, complete: bool) {
        if complete && !self.over_cap {
            self.found = self.look();
        }
        let body = std::mem::take(&mut self.body);
        if let Some(found) = &mut self.found {
            found.request_body(&body);
            found.request_end(complete);
        }
    }

    fn response(&mut self, head: &ResponseHead) {
        if let Some(found) = &mut self.found {
            found.response(head);
        }
    }

    fn response_body(&mut self, data: &[u8], time_ns: u64) {
        if let Some(found) = &mut self.found {
            found.response_body(data, time_ns);
        }
    }

    fn prompt(&self) -> Option<&[u8]> {
        self.found.as_ref()?.prompt()
    }

    fn held(&self) -> usize {
        self.body.len() + self.found.as_ref().map_or(0, |found| found.held())
    }

    fn release(&mut self) {
        self.over_cap |= !self.body.is_empty();
        self.body = Vec::new();
        if let Some(found) = &mut self.found {
            found.release();
        }
    }

    fn has_call(&self) -> bool {
        self.found.is_some()
    }

    fn finish(self: Box<Self>, end: End) -> Call {
        self.found.map(|found| found.finish(end)).unwrap_or_default()
    }
}
