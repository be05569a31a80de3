//! Bytes of a connection on their way to finished exchanges.
//!
//! In: the kernel's data events and byte counts. Out: inference records. Never: a byte that the kernel counted and that
//! is neither parsed nor declared missing.

use super::connection::Connection;
use super::{Output, Pipeline, tls};
use crate::flow::{GapCause, Piece, index};
use crate::http::Chunk;
use audit_common::abi::ConnKey;
use audit_common::decode::{Data, Direction, Event};
use std::collections::BTreeMap;

impl Pipeline {
    pub(super) fn data(&mut self, data: &Data<'_>, event: &Event<'_>, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&data.conn) else {
            // Its opening was lost, or it was judged or ended before.
            self.count("bytes_without_connection", u64::from(data.stream_len));
            return;
        };
        if connection.ignored {
            return;
        }
        connection.last_ns = event.time_ns;
        if event.pid != 0 {
            connection.used_by(event.pid);
        }
        if connection.tls.is_some() {
            return;
        }
        if connection.streams.iter().all(|stream| stream.seen == 0) && tls::is_record(data.bytes) {
            self.found_tls(data.conn, out);
            return;
        }
        self.stream(data.conn, data, event.time_ns, out);
    }

    /// Bytes of HTTP, as they were on the socket or as a TLS library had them, on the connection `key`.
    pub(super) fn stream(&mut self, key: ConnKey, data: &Data<'_>, time_ns: u64, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let mut finished = Vec::new();
        let hasher = &self.options.hasher;
        connection.settle_role(data);
        let response = connection.is_response(data.direction);
        let Connection {
            http,
            exchanges,
            streams,
            gaps,
            ..
        } = connection;
        let before = exchanges.evidence;
        streams[index(data.direction)].accept(data, |piece| {
            let chunk = chunk(piece, gaps);
            http.push(response, chunk, &mut |http_event| {
                finished.extend(exchanges.event(http_event, time_ns, hasher));
            });
        });
        let after = exchanges.evidence;
        let progress = exchanges.progress();
        let undecided = connection.upstream && !connection.head_only && after.inference == 0;
        if after != before || undecided {
            self.judge(key, before, after, out);
        }
        self.progress(key, &progress);
        self.finish(key, &finished, out);
    }

    /// The kernel has counted so many bytes: what did not come is declared missing for `cause`, and a request that was
    /// answered before its end is not waited for.
    pub(super) fn catch_up(
        &mut self,
        key: ConnKey,
        rx: u64,
        tx: u64,
        cause: GapCause,
        time_ns: u64,
        out: &mut Vec<Output>,
    ) {
        let Some(connection) = self
            .connections
            .get_mut(&key)
            .filter(|connection| !connection.ignored)
        else {
            return;
        };
        let mut finished = Vec::new();
        let hasher = &self.options.hasher;
        let roles = [Direction::Rx, Direction::Tx].map(|direction| connection.is_response(direction));
        let Connection {
            http,
            exchanges,
            streams,
            gaps,
            ..
        } = connection;
        for ((stream, response), total) in streams.iter_mut().zip(roles).zip([rx, tx]) {
            stream.catch_up(total, cause, |piece| {
                let chunk = chunk(piece, gaps);
                http.push(response, chunk, &mut |event| {
                    finished.extend(exchanges.event(event, time_ns, hasher))
                });
            });
        }
        http.settle(&mut |event| finished.extend(exchanges.event(event, time_ns, hasher)));
        self.finish(key, &finished, out);
    }
}

fn chunk<'a>(piece: Piece<'a>, gaps: &mut BTreeMap<GapCause, u64>) -> Chunk<'a> {
    match piece {
        Piece::Data(bytes) => Chunk::Data(bytes),
        Piece::Gap(len, cause) => {
            let total = gaps.entry(cause).or_default();
            *total = total.saturating_add(len);
            Chunk::Gap(len)
        }
        Piece::Eof => Chunk::Eof,
    }
}
