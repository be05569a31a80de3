//! gRPC calls whose messages' schema is not read: that they happened, when, by whom and with what status.
//!
//! In: messages and trailers. Out: one [`Call`] for the exchange. Never: a field of a message; their sizes and hashes are
//! taken where they pass.

use super::{Decoder, End, Message, Side, grpc};
use crate::call::{Call, CallError};
use crate::http::{Headers, ResponseHead};

#[derive(Debug)]
pub struct Unread {
    call: Call,
    status: Option<u16>,
    trailers: bool,
}

impl Unread {
    /// A gRPC method.
    pub fn grpc(api: &'static str, operation: &'static str) -> Box<dyn Decoder> {
        Box::new(Self::new(api, operation))
    }

    fn new(api: &'static str, operation: &'static str) -> Self {
        let call = Call {
            api,
            operation,
            notes: vec!["api_not_decoded"],
            ..Call::default()
        };
        Self {
            call,
            status: None,
            trailers: false,
        }
    }

    fn error(&self, end: End) -> Option<CallError> {
        let kind = match (self.status, end) {
            (Some(status @ 400..), _) => format!("http_{status}"),
            (_, End::Aborted) => "client_abort".to_owned(),
            (_, End::Complete) if !self.trailers => "grpc_no_status".to_owned(),
            _ => return None,
        };
        Some(CallError { kind, message: None })
    }
}

impl Decoder for Unread {
    fn request_body(&mut self, _data: &[u8]) {}

    fn request_end(&mut self, _complete: bool) {}

    fn response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status);
    }

    fn response_body(&mut self, _data: &[u8], _time_ns: u64) {}

    fn message(&mut self, message: Message<'_>) {
        if message.from == Side::Server {
            self.call.chunks += 1;
        }
    }

    fn message_lost(&mut self, _from: Side) {
        if !self.call.notes.contains(&"messages_lost") {
            self.call.notes.push("messages_lost");
        }
    }

    fn trailers(&mut self, trailers: &Headers) {
        self.trailers |= trailers.first("grpc-status").is_some();
        self.call.error = self.call.error.take().or_else(|| grpc::error(trailers));
    }

    fn finish(self: Box<Self>, end: End) -> Call {
        let error = self.error(end);
        let mut call = self.call;
        call.stream = (call.chunks > 1).then_some(true);
        call.error = call.error.or(error);
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &str, value: &str) -> Headers {
        Headers(vec![(name.into(), value.into())])
    }

    fn answer(data: &[u8]) -> Message<'_> {
        Message {
            from: Side::Server,
            binary: true,
            data,
            time_ns: 1,
        }
    }

    #[test]
    fn a_call_says_how_it_ended_and_nothing_of_its_messages() {
        let mut decoder = Unread::grpc("kserve_grpc", "text_completion");
        decoder.message(answer(b"\x0a\x05model"));
        decoder.trailers(&fields("grpc-status", "0"));
        let call = decoder.finish(End::Complete);
        assert_eq!((call.error, call.model_served, call.stream), (None, None, None));
        assert_eq!(call.notes, ["api_not_decoded"]);
    }

    #[test]
    fn a_call_that_failed_has_the_servers_reason() {
        let mut decoder = Unread::grpc("kserve_grpc", "text_completion");
        decoder.trailers(&fields("grpc-status", "5"));
        assert_eq!(
            decoder.finish(End::Complete).error.unwrap().kind,
            "grpc_not_found"
        );
        let without = Unread::grpc("kserve_grpc", "text_completion").finish(End::Complete);
        assert_eq!(without.error.unwrap().kind, "grpc_no_status");
    }
}
