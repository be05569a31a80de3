//! Every cap of the pure core, in one place. Whatever grows with input is bounded by one of these;
//! reaching one is counted and shows in the record, it never ends the agent.

/// Bytes of a request or status line with its header fields (RFC 9112 section 3 asks for 8000 at least).
pub const HTTP_HEAD_BYTES: usize = 256 * 1024;
/// Header fields of one message.
pub const HTTP_HEADERS: usize = 256;
/// Bytes of one chunk-size line with its extensions (RFC 9112 section 7.1.1).
pub const HTTP_CHUNK_LINE_BYTES: usize = 16 * 1024;
/// Requests of one connection that wait for their response (pipelining).
pub const HTTP_PIPELINE: usize = 64;
/// Bytes of the fields that one HPACK table keeps (RFC 7541 section 4.1); senders agree on 4096 unless told otherwise.
pub const HPACK_TABLE_BYTES: usize = 64 * 1024;
/// Streams of one HTTP/2 connection that are open at once (RFC 9113 section 5.1.2); the oldest goes first.
pub const H2_STREAMS: usize = 1024;
/// Bytes of gRPC messages that are not whole yet, on all streams of one connection.
pub const H2_MESSAGES_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of bodies, prompts and answers that the calls of one connection may hold together; the call that holds most loses its own
/// first.
pub const CONNECTION_HELD_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of one decoded message body that decoders may keep.
pub const BODY_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a JSON body up to which it is kept as it is; a longer one is squeezed as it comes ([`crate::infer`]).
pub const JSON_WHOLE_BYTES: usize = 512 * 1024;
/// The same of one whose elements are only counted: parsing them costs more than leaving them out.
pub const JSON_COUNTED_BYTES: usize = 4 * 1024;
/// Bytes that the structure of a squeezed body may have beyond [`BODY_BYTES`]; then it is not read at all.
pub const JSON_SQUEEZED_BYTES: usize = BODY_BYTES + 1024 * 1024;
/// Values of one body that are kept; each costs 32 bytes and more when it is parsed.
pub const JSON_VALUES: usize = 256 * 1024;
/// Elements of an array, and bytes of a string, that are kept where only the shape of a body is of interest.
pub const JSON_SHAPE_ELEMENTS: u64 = 16;
pub const JSON_SHAPE_STRING_BYTES: usize = 1024;
/// Bytes of a body on an unknown path that are looked at to see what it is.
pub const SNIFF_BYTES: usize = 1024 * 1024;
/// Bytes of one text field of a form, of all of them together, and how many parts it may have.
pub const FORM_FIELD_BYTES: usize = 64 * 1024;
pub const FORM_BYTES: usize = 1024 * 1024;
pub const FORM_PARTS: usize = 128;
/// Bytes of binary tensors behind the JSON of a body that are kept to read texts from.
pub const BINARY_BYTES: usize = 1024 * 1024;
/// Images, sounds and files of one call that records name.
pub const ATTACHMENTS: usize = 32;
/// Models of one inventory, and servers whose last inventories are remembered to tell what changed.
pub const INVENTORY_MODELS: usize = 64;
pub const INVENTORIES: usize = 1024;
/// Files of weights whose last digests are remembered to tell that one was replaced.
pub const REPLACED_WEIGHTS: usize = 4096;
/// Bytes that one content-encoded body may grow to, and by which factor at most.
pub const INFLATED_BYTES: u64 = 64 * 1024 * 1024;
pub const INFLATED_RATIO: u64 = 1000;
/// Bytes of one SSE or NDJSON line.
pub const STREAM_LINE_BYTES: usize = 1024 * 1024;
/// Completion text, reasoning text and tool arguments that are kept of one call; hashes cover all of it.
pub const TEXT_BYTES: usize = 1024 * 1024;
/// Choices of one call (`n` times the prompts of a batch).
pub const CHOICES: usize = 128;
/// Tool calls of one choice.
pub const TOOL_CALLS: usize = 128;
/// Nested arrays and objects in a body; serde_json's own recursion limit is the same.
pub const JSON_DEPTH: usize = 128;
/// Connections that are tracked at once; the oldest idle one goes first.
pub const CONNECTIONS: usize = 16 * 1024;
/// Calls that are open or ended just now, among which the cause of another is looked for; and how many are named when
/// several fit.
pub const CALLS_OPEN: usize = 16 * 1024;
pub const LINK_CANDIDATES: usize = 8;
/// Answers that asked for tools and may still lead to commands; tools of one, and bytes of their arguments that are kept.
pub const ACTION_WINDOWS: usize = 256;
pub const ACTION_TOOLS: usize = 16;
pub const ACTION_ARGUMENTS_BYTES: usize = 2048;
/// Actions of one answer; more are counted and declared. A tool may compile a program.
pub const ACTIONS_OF_ANSWER: u64 = 64;
/// Commands that wait for the look-up of a process.
pub const ACTIONS_PENDING: usize = 1024;
/// Plaintext of one TLS session, and of all, that waits for its socket to be known; and events of one session.
pub const TLS_SESSION_HELD_BYTES: usize = 256 * 1024;
pub const TLS_HELD_BYTES: usize = 8 * 1024 * 1024;
pub const TLS_SESSION_HELD_EVENTS: usize = 1024;
/// Listeners with unread TLS that are named in the log.
pub const TLS_UNREAD: usize = 1024;
/// Processes of which facts are kept.
pub const PROCESSES: usize = 16 * 1024;
/// Bytes of one string that is copied from the wire into a record.
pub const RECORD_STRING_BYTES: usize = 1024;
/// Bytes of one record line: a C2SP tlog-tiles entry holds 65535 at most.
pub const RECORD_BYTES: usize = 60 * 1024;

/// The first bytes of `text`, up to the cap of a record's string.
pub fn cut(text: &str) -> String {
    let end = (0..=RECORD_STRING_BYTES.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
/// Signed lines that wait in memory while the log's file takes none (disk full, read-only).
pub const UNWRITTEN_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a signed note with all its signatures.
pub const NOTE_BYTES: usize = 64 * 1024;
/// Epochs that the stored secret may be behind the log's last line.
pub const EPOCHS_BEHIND: u64 = 100_000;
/// Silences of a log that a report lists; all are counted.
pub const SILENCES: usize = 1000;
/// Lines of a witness policy.
pub const POLICY_LINES: usize = 10_000;
/// Bytes of one resource that a log's server gives: a bundle of 256 entries of 65,535 bytes is the largest.
pub const RESOURCE_BYTES: u64 = 17 * 1024 * 1024;
/// Bytes of one request to a witness: a checkpoint and 63 hashes.
pub const REQUEST_BYTES: usize = 128 * 1024;
/// Connections that a server of ours answers at once.
pub const SERVED_CONNECTIONS: usize = 64;
/// Users of whom keys are kept, of whom in memory, and how many may be new in one commit. Content of more is not stored: what
/// has no key of its own could not be erased.
pub const CONTENT_USERS: usize = 64 * 1024;
pub const CONTENT_USERS_CACHED: usize = 4096;
pub const CONTENT_NEW_USERS: usize = 64;
/// Text that waits for the next commit, and records behind it.
pub const CONTENT_HELD_BYTES: usize = 1024 * 1024;
pub const CONTENT_HELD_RECORDS: usize = 4096;
/// A segment of content is closed at this size, or when it is as old; smaller when the configured room is small.
pub const CONTENT_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
pub const CONTENT_SEGMENT_SECONDS: u64 = 3600;
/// Bytes of one age file that is read back.
pub const CONTENT_MEMBER_BYTES: u64 = 256 * 1024 * 1024;
