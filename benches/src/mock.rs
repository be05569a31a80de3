//! A server that answers OpenAI chat requests from memory, so that what watching costs is not hidden behind
//! the time a model takes. One thread; loopback only.

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

/// Where [`crate::load`] sends its requests; also what the agent recognises an inference server by.
pub const PATH: &str = "/v1/chat/completions";
/// Answers with this many bytes of text are 1 KiB with everything around it.
pub const TEXT_BYTES: usize = 700;
/// Chunks of a streamed answer.
pub const CHUNKS: usize = 64;

/// What the server does with a request.
#[derive(Args, Clone, Copy, Debug)]
pub struct Options {
    /// Port to listen on, on 127.0.0.1
    #[arg(long)]
    pub port: u16,
    /// Microseconds that each request is kept waiting without using the processor
    #[arg(long, default_value_t = 0)]
    pub think_us: u64,
    /// Microseconds of processor time that each request takes
    #[arg(long, default_value_t = 0)]
    pub work_us: u64,
    /// Bytes of text in an answer that is not streamed
    #[arg(long, default_value_t = TEXT_BYTES)]
    pub text_bytes: usize,
}

/// The answers, made once.
struct Answers {
    plain: Bytes,
    chunks: Vec<Bytes>,
}

fn answers(text_bytes: usize) -> Answers {
    let words = "probes read what sockets carry and a ledger keeps the proof of it ";
    let text: String = words.chars().cycle().take(text_bytes).collect();
    let plain = format!(
        r#"{{"id":"chatcmpl-mock","object":"chat.completion","created":1760000000,"model":"mock","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":180,"completion_tokens":150,"total_tokens":330}},"system_fingerprint":"mock"}}"#
    );
    Answers {
        plain: plain.into(),
        chunks: (1..=CHUNKS).map(chunk).collect(),
    }
}

/// What the server answers when nothing else is asked for.
pub fn answer_text() -> String {
    String::from_utf8_lossy(&answers(TEXT_BYTES).plain).into_owned()
}

fn chunk(number: usize) -> Bytes {
    let last = number == CHUNKS;
    let (finish, done) = if last {
        ("\"stop\"", "data: [DONE]\n\n")
    } else {
        ("null", "")
    };
    format!(
        "data: {{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\
         \"model\":\"mock\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number}\"}},\
         \"finish_reason\":{finish}}}]}}\n\n{done}"
    )
    .into()
}

/// Gives up the thread after each chunk: hyper then flushes it in a write of its own, as a server does that
/// sends token by token.
struct Stream {
    chunks: &'static [Bytes],
    flushed: bool,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.flushed {
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some((first, rest)) = self.chunks.split_first() else {
            return Poll::Ready(None);
        };
        self.chunks = rest;
        self.flushed = false;
        Poll::Ready(Some(Ok(Frame::data(first.clone()))))
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

fn respond(content_type: &'static str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

async fn answer(
    request: Request<Incoming>,
    options: Options,
    answers: &'static Answers,
) -> Result<Answer, hyper::Error> {
    let known = request.uri().path() == PATH;
    let body = request.into_body().collect().await?.to_bytes();
    if !known {
        let mut answer = respond("application/json", Full::new(Bytes::from_static(b"{}")).boxed());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        return Ok(answer);
    }
    if options.think_us > 0 {
        tokio::time::sleep(Duration::from_micros(options.think_us)).await;
    }
    work(Duration::from_micros(options.work_us));
    // [`crate::load`] writes the member first and in this form.
    Ok(if body.starts_with(b"{\"stream\":true") {
        respond(
            "text/event-stream",
            Stream {
                chunks: &answers.chunks,
                flushed: true,
            }
            .boxed(),
        )
    } else {
        respond("application/json", Full::new(answers.plain.clone()).boxed())
    })
}

fn work(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Serves until the process is ended.
pub fn run(options: Options) -> anyhow::Result<()> {
    let answers: &'static Answers = Box::leak(Box::new(answers(options.text_bytes)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            let service = service_fn(move |request| answer(request, options, answers));
            // A client that goes away is not the server's business.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_answer_is_json_of_one_kibibyte() -> serde_json::Result<()> {
        let plain = answers(TEXT_BYTES).plain;
        serde_json::from_slice::<serde_json::Value>(&plain)?;
        assert!((900..=1100).contains(&plain.len()), "{} bytes", plain.len());
        Ok(())
    }
}
