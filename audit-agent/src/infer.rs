//! Inference APIs: which request is one, and what it says.
//!
//! In: message heads and decoded body bytes of one exchange. Out: one [`Call`]. Never: IO, clocks
//! (times come with the bytes), a guess where a field is absent, panics on hostile bodies.
//!
//! A family is one file that implements [`family::Family`]; [`paths`] says which requests are its.

mod answer;
mod body;
mod error;
pub mod family;
mod json;
mod llama_cpp;
mod openai_chat;
pub mod paths;
mod request;
mod undecoded;

use crate::call::Call;
use crate::http::{RequestHead, ResponseHead};
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

/// Reads one exchange of one API. Calls come in this order, request body before or among the response's.
pub trait Decoder: Send + std::fmt::Debug {
    /// The whole request body, or its first [`crate::limits::BODY_BYTES`] with `complete` false.
    fn request(&mut self, body: &[u8], complete: bool);

    /// The head of the final response.
    fn response(&mut self, head: &ResponseHead);

    /// The next decoded bytes of the response body, seen at `time_ns` (boot time).
    fn response_body(&mut self, data: &[u8], time_ns: u64);

    /// The exchange is over.
    fn finish(self: Box<Self>, end: End) -> Call;
}

/// What a request is to the agent, judged from its head alone.
#[derive(Debug)]
pub enum Classified {
    /// A call to a model.
    Inference(Box<dyn Decoder>),
    /// Another path that only inference servers have (`/props`, `/v1/models`, `/api/tags`...): evidence
    /// that this is one, no record.
    Metadata,
    Other,
}

/// A decoder for the request, or what else it is.
pub fn classify(head: &RequestHead) -> Classified {
    match paths::route(&head.method, head.path()) {
        Some(Route::OpenAiChat) => Classified::Inference(family::decoder(openai_chat::OpenAiChat)),
        Some(Route::LlamaCppCompletion) => Classified::Inference(family::decoder(llama_cpp::Completion)),
        Some(Route::Undecoded(operation)) => {
            Classified::Inference(family::decoder(undecoded::Undecoded { operation }))
        }
        Some(Route::Metadata) => Classified::Metadata,
        None => Classified::Other,
    }
}

#[cfg(test)]
mod tests;
