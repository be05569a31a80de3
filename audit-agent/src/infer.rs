//! Inference APIs: which request is one, and what it says.
//!
//! In: message heads and decoded body bytes of one exchange. Out: one [`Call`]. Never: IO, clocks
//! (times come with the bytes), a guess where a field is absent, panics on hostile bodies.
//!
//! A family is one file that implements [`family::Family`]; [`paths`] says which requests are its.

mod admin;
mod answer;
mod anthropic;
mod binary;
mod body;
mod completions;
mod embeddings;
mod engine_grpc;
mod error;
pub mod family;
mod generate;
pub mod grpc;
mod halves;
mod headers;
mod inventory;
mod json;
mod kserve;
mod kserve_grpc;
mod llama_cpp;
mod lm_studio;
mod mcp;
mod media;
mod multipart;
mod ollama;
mod openai_chat;
mod parts;
pub mod paths;
mod protobuf;
mod realtime;
mod request;
mod rerank;
mod responses;
mod sniff;
mod squeeze;
mod tei_grpc;
mod thinking;
mod tokenize;
mod undecoded;
mod vertex;

use crate::call::Call;
use crate::http::grpc::Grpc;
use crate::http::target::percent_decoded;
use crate::http::{Headers, RequestHead, ResponseHead};
use paths::Route;

/// How the exchange ended, from the decoder's point of view.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The response was seen to its end.
    Complete,
    /// The connection ended inside the response, or before one came.
    Aborted,
    /// Bytes of the response are missing, so what was decoded is a part.
    Partial,
}

/// Who sent something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Client,
    Server,
}

/// One whole message of an exchange in which both sides send messages: a WebSocket message (RFC 6455, after
/// reassembly, unmasking and permessage-deflate), or a gRPC message (without its prefix, decompressed).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    pub from: Side,
    /// False for a WebSocket text message, whose `data` is UTF-8 then; a gRPC message is always binary.
    pub binary: bool,
    pub data: &'a [u8],
    /// When its last byte was seen (boot time).
    pub time_ns: u64,
}

/// A call that is over while its exchange goes on (`response.done` of a realtime session).
#[derive(Debug)]
pub struct Ended {
    pub call: Call,
    /// `Partial` when messages that may belong to it are missing.
    pub end: End,
    /// When it began, and when everything was asked; boot time. It ends with the message that ended it.
    pub start_ns: u64,
    pub asked_ns: u64,
}

/// Reads one exchange of one API. Calls come in this order, request body before or among the response's.
///
/// An exchange of messages (WebSocket, gRPC) gives [`Decoder::message`] in place of `response_body`; its `request` comes
/// with what the handshake had as body, which is nothing.
pub trait Decoder: Send + std::fmt::Debug {
    /// The next decoded bytes of the request body.
    fn request_body(&mut self, data: &[u8]);

    /// The request is over; `complete` when every byte of its body was given.
    fn request_end(&mut self, complete: bool);

    /// The head of the final response.
    fn response(&mut self, head: &ResponseHead);

    /// The next decoded bytes of the response body, seen at `time_ns` (boot time).
    fn response_body(&mut self, data: &[u8], time_ns: u64);

    /// The next whole message of either side, in the order in which they ended on the wire.
    fn message(&mut self, _message: Message<'_>) {}

    /// One or more messages of `from` are missing before the next: lost on the way to us, over a cap or undecodable.
    fn message_lost(&mut self, _from: Side) {}

    /// Fields behind the body of the response (RFC 9110 section 6.5).
    fn trailers(&mut self, _trailers: &Headers) {}

    /// Calls that ended since this was asked last; asked after each message.
    fn calls(&mut self) -> Vec<Ended> {
        Vec::new()
    }

    /// The RFC 8785 form of what was asked, once [`Decoder::request_end`] has seen it whole: `Call::prompt_canonical`.
    fn prompt(&self) -> Option<&[u8]> {
        None
    }

    /// Bytes of bodies and texts that are held until they are whole, or until the exchange is over.
    fn held(&self) -> usize {
        0
    }

    /// Gives up what is held, because there is no room for it, and says so in the call.
    fn release(&mut self) {}

    /// Whether [`Decoder::finish`] has a call to tell of, known when the request is over; false for a session between two
    /// calls, and for a body that turned out to be no call.
    fn has_call(&self) -> bool {
        true
    }

    /// The exchange is over.
    fn finish(self: Box<Self>, end: End) -> Call;
}

/// What a request is to the agent, judged from its head alone.
#[derive(Debug)]
pub enum Classified {
    /// A call to a model, a change of what is served, or a question of it: nobody but an inference server has such paths.
    Inference(Box<dyn Decoder>),
    /// The body will tell.
    Perhaps(Box<dyn Decoder>),
    /// What other servers have too: of use if the server is known for one by other requests.
    Hint(Box<dyn Decoder>),
    /// Another path that only inference servers have: evidence that this is one, no record.
    Metadata,
    Other,
}

/// A decoder for the request, or what else it is.
pub fn classify(head: &RequestHead) -> Classified {
    if let Some(classified) = of_messages(head) {
        return classified;
    }
    // Servers route by what the path says, not by how it is written.
    match paths::route(&head.method, &percent_decoded(head.path())) {
        Some(Route::Noise) => Classified::Metadata,
        // Many servers that are none have such a path.
        Some(route @ Route::Inventory(inventory::Source::Version | inventory::Source::Info)) => {
            paths::decoder_of(route, head).map_or(Classified::Other, Classified::Hint)
        }
        Some(route) => paths::decoder_of(route, head).map_or(Classified::Metadata, Classified::Inference),
        None => match sniff::Sniffer::new(head) {
            Some(sniffer) => Classified::Perhaps(Box::new(sniffer)),
            None => Classified::Other,
        },
    }
}

/// An exchange of messages, if the request begins one that is known.
fn of_messages(head: &RequestHead) -> Option<Classified> {
    // A server that does not know gRPC reads such a request as any other.
    let method = grpc::method(head.path()).filter(|_| Grpc::is(&head.headers));
    match method {
        Some(grpc::Method::Inference(api, operation)) => {
            return Some(Classified::Inference(grpc::decoder(api, operation, head)));
        }
        Some(grpc::Method::Metadata) => return Some(Classified::Metadata),
        None => {}
    }
    let upgrade = head.headers.first("upgrade")?;
    let realtime = upgrade.eq_ignore_ascii_case("websocket") && head.path().ends_with("/realtime");
    realtime.then(|| Classified::Inference(realtime::Realtime::decoder(head)))
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
