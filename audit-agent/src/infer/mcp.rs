//! The Model Context Protocol over HTTP: JSON-RPC requests of a client to a tool server.
//!
//! Source: the MCP specification, 2025-11-25, transports and `tools/call`. The answer is JSON or a stream in which the server may
//! ask and notify before it answers. A tool that failed says so with `isError` under status 200.

use super::answer::Answer;
use super::family::{Event, Family};
use super::{json, parts, request};
use crate::call::{Call, CallError, Results};
use crate::limits::cut;
use serde_json::Value;

#[derive(Debug, Default)]
pub struct Mcp {
    /// Id of the request as JSON; None for a notification, which has no answer.
    id: Option<String>,
    tool: bool,
}

/// Methods that are known; another is counted as `other`, since any text may stand there.
const METHODS: &[(&str, &str)] = &[
    ("completion/complete", "completion_complete"),
    ("elicitation/create", "elicitation_create"),
    ("initialize", "initialize"),
    ("logging/setLevel", "logging_set_level"),
    ("ping", "ping"),
    ("prompts/get", "prompts_get"),
    ("prompts/list", "prompts_list"),
    ("resources/list", "resources_list"),
    ("resources/read", "resources_read"),
    ("resources/subscribe", "resources_subscribe"),
    ("resources/templates/list", "resources_templates_list"),
    ("resources/unsubscribe", "resources_unsubscribe"),
    ("sampling/createMessage", "chat"),
    ("tools/call", "execute_tool"),
    ("tools/list", "tools_list"),
];

impl Family for Mcp {
    fn names(&self) -> (&'static str, &'static str) {
        ("mcp", "other")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        // A batch (2025-03-26): the first stands for it, and how many there were is said.
        let body = match body {
            Value::Array(list) => {
                call.inputs = Some(list.len() as u64);
                list.first().unwrap_or(body)
            }
            one => one,
        };
        let method = json::text(body, "method").unwrap_or_default();
        call.operation = match method.starts_with("notifications/") {
            true => "notification",
            false if method.is_empty() => "response",
            false => METHODS
                .iter()
                .find(|(name, _)| *name == method)
                .map_or("other", |(_, name)| *name),
        };
        self.id = body.get("id").filter(|id| !id.is_null()).map(Value::to_string);
        self.tool = method == "tools/call";
        let Some(params) = body.get("params") else { return };
        call.prompt_canonical = request::canonical(params);
        if let Some(messages) = params.get("messages") {
            parts::messages(call, messages);
        }
        identity(call, params, "clientInfo", "client");
        for name in ["name", "uri"] {
            if let Some(text) = json::word_of(params, name) {
                call.params.insert(name.into(), Value::from(text));
            }
        }
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        let event = match event {
            Value::Array(list) => list.first().unwrap_or(event),
            one => one,
        };
        let answers = event.get("method").is_none();
        let mine = event.get("id").map(Value::to_string) == self.id;
        if !(answers && mine) {
            return Event::default();
        }
        if let Some(result) = event.get("result") {
            self::result(call, answer, result);
        }
        Event::last(true)
    }

    fn finish(&mut self, call: &mut Call, answer: &mut Answer) {
        let name = call.params.get("name").and_then(Value::as_str).map(str::to_owned);
        if self.tool {
            let arguments = call.prompt_canonical.as_deref().and_then(json::parse);
            let arguments = arguments
                .as_ref()
                .and_then(|params| params.get("arguments"))
                .map(Value::to_string);
            let id = self.id.as_deref().map(|id| id.trim_matches('"'));
            answer.whole_tool_call(0, id, name.as_deref(), &arguments.unwrap_or_default());
        }
    }
}

fn result(call: &mut Call, answer: &mut Answer, result: &Value) {
    identity(call, result, "serverInfo", "server");
    call.api_version = json::word_of(result, "protocolVersion").or(call.api_version.take());
    let contents = json::list(result, "content").chain(json::list(result, "contents"));
    for part in contents {
        answer.text(0, json::text(part, "text").unwrap_or_default());
        for (kind, member) in [("image", "data"), ("audio", "data"), ("file", "blob")] {
            let of_kind = json::text(part, "type") == Some(kind) || member == "blob";
            if let Some(data) = json::text(part, member).filter(|_| of_kind) {
                parts::inline(call, kind, "response", json::word_of(part, "mimeType"), data);
            }
        }
    }
    // `sampling/createMessage` answers with one part.
    if let Some(text) = result
        .get("content")
        .and_then(|content| json::text(content, "text"))
    {
        answer.text(0, text);
    }
    for list in ["tools", "prompts", "resources", "resourceTemplates"] {
        if let Some(items) = result.get(list).and_then(Value::as_array) {
            call.results = Some(Results {
                count: items.len() as u64,
                dimensions: None,
            });
        }
    }
    if result.get("isError").and_then(Value::as_bool) == Some(true) {
        let said = json::list(result, "content").find_map(|part| json::text(part, "text"));
        call.error.get_or_insert(CallError {
            kind: "tool_error".into(),
            message: said.map(cut),
        });
    }
}

/// `clientInfo` and `serverInfo`: a program's name and version.
fn identity(call: &mut Call, holder: &Value, member: &str, side: &str) {
    let Some(info) = holder.get(member) else { return };
    for name in ["name", "version"] {
        if let Some(text) = json::word_of(info, name) {
            let params = if side == "client" {
                &mut call.params
            } else {
                &mut call.effective_params
            };
            params.insert(format!("{side}_{name}"), Value::from(text));
        }
    }
}
