//! One readable line for each record. Pure.
//!
//! In: a record. Out: text without control characters, whatever the record holds.

use serde_json::Value;

/// The record as one line.
pub fn line(record: &Value) -> String {
    let time = text(record, "time");
    let clock = time.get(11..23).unwrap_or(time);
    let words = match text(record, "record_type") {
        "inference" => inference(record),
        "gap" => format!(
            "GAP    {} lost={} bytes={}",
            text(record, "where"),
            record["lost"],
            record["lost_bytes"]
        ),
        "admin" => admin(record),
        "inventory" => inventory(record),
        "model" => format!(
            "MODEL  {} sha256:{}{}",
            text(&record["file"], "path"),
            text(&record["file"], "sha256"),
            if record["replaces"].is_string() {
                " REPLACES ANOTHER"
            } else {
                ""
            }
        ),
        "action" => action(record),
        "access" => format!(
            "ACCESS content of #{} by uid {} with {}",
            record["content_seq"],
            record["uid"],
            text(record, "reader")
        ),
        "erasure" => format!("ERASE  {} by uid {}", text(record, "user_id"), record["uid"]),
        "retention" => format!(
            "RETAIN {} files of {} removed for {}, {} bytes",
            record["files"].as_array().map_or(0, Vec::len),
            text(record, "where"),
            text(record, "reason"),
            record["bytes"]
        ),
        "heartbeat" => format!("ALIVE  {}", record["counters"]),
        "epoch" => format!("EPOCH  {} begins", record["next_epoch"]),
        "agent_start" => format!(
            "START  audit-agent {} on {}",
            text(record, "agent_version"),
            text(record, "host")
        ),
        "agent_stop" => format!("STOP   {} {}", text(record, "reason"), record["counters"]),
        other => format!("{} {}", other.to_uppercase(), record),
    };
    let line = format!("{clock} #{} {words}", record["seq"]);
    harmless(&line)
}

/// Text from elsewhere without what could steer a terminal or turn the reading direction round.
pub fn harmless(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c })
        .collect()
}

fn status(record: &Value) -> String {
    let status = record["status"].as_u64();
    status.map_or("---".to_owned(), |status| status.to_string())
}

fn who(record: &Value) -> String {
    match text(&record["client"]["process"], "comm") {
        "" => text(&record["client"], "address").to_owned(),
        comm => format!("{comm}({})", record["client"]["process"]["pid"]),
    }
}

fn admin(record: &Value) -> String {
    let error = match text(record, "error_type") {
        "" => String::new(),
        error => format!(" ERROR {error}"),
    };
    format!(
        "ADMIN  {} {} {} {} <- {}{error}",
        status(record),
        text(record, "action"),
        text(record, "model"),
        text(record, "digest"),
        who(record)
    )
}

fn inventory(record: &Value) -> String {
    let models = record["models"].as_array().into_iter().flatten();
    let models = models.map(|model| match text(model, "replaces") {
        "" => format!("{} {}", text(model, "name"), text(model, "digest")),
        old => format!("{} {} REPLACES {old}", text(model, "name"), text(model, "digest")),
    });
    let models: Vec<String> = models.collect();
    format!("SERVES {}: {}", text(record, "source"), models.join(", "))
}

fn inference(record: &Value) -> String {
    let (status, who) = (status(record), who(record));
    let tokens = |name: &str| {
        record[name]
            .as_u64()
            .map_or("?".to_owned(), |count| count.to_string())
    };
    let ttft = record["ttft_us"]
        .as_u64()
        .map(|us| format!(" ttft {}", millis(us)))
        .unwrap_or_default();
    let end = match text(record, "error_type") {
        "" => record["finish_reasons"][0].as_str().unwrap_or("-").to_owned(),
        error => format!("ERROR {error}"),
    };
    let state = match text(&record["capture"], "state") {
        "complete" => String::new(),
        state => format!(" [{state}, {} bytes missed]", record["capture"]["bytes_missed"]),
    };
    let hop = match record["hop"].as_u64() {
        None | Some(0) => String::new(),
        Some(hop) => format!(" [hop {hop} of {}]", record["caused_by"].as_str().unwrap_or("?")),
    };
    format!(
        "{status} {} {} <- {who} {}+{} tokens {}{ttft} {end}{state}{hop}",
        text(&record["endpoint"], "path"),
        text(record, "model"),
        tokens("input_tokens"),
        tokens("output_tokens"),
        millis(record["latency_us"].as_u64().unwrap_or(0)),
    )
}

fn action(record: &Value) -> String {
    let words = |list: &Value| {
        let words = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    format!(
        "ACTION {}({}) {} <- {} of {} by {}",
        text(&record["process"], "exe"),
        record["process"]["pid"],
        words(&record["process"]["argv"]),
        words(&record["tools"]),
        record["caused_by"].as_str().unwrap_or("?"),
        text(record, "link"),
    )
}

fn millis(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}

fn text<'a>(record: &'a Value, name: &str) -> &'a str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shows_a_call_in_one_line() {
        let record = json!({
            "time": "2026-11-20T10:11:12.123456789Z", "seq": 7, "record_type": "inference", "status": 200,
            "endpoint": {"method": "POST", "path": "/v1/chat/completions"}, "model": "tiny",
            "client": {"process": {"comm": "curl", "pid": 9}}, "input_tokens": 3, "output_tokens": null,
            "latency_us": 12345, "ttft_us": 2000, "finish_reasons": ["stop"], "capture": {"state": "complete"},
        });
        let expected =
            "10:11:12.123 #7 200 /v1/chat/completions tiny <- curl(9) 3+? tokens 12.3 ms ttft 2.0 ms stop";
        assert_eq!(line(&record), expected);
    }

    #[test]
    fn shows_what_an_inner_call_was_made_for() {
        let record = json!({"record_type": "inference", "seq": 1, "hop": 1, "caused_by": "00ff",
            "capture": {"state": "complete"}});
        assert!(line(&record).ends_with(" [hop 1 of 00ff]"), "{}", line(&record));
    }

    #[test]
    fn shows_an_action_with_what_asked_for_it() {
        let record = json!({"record_type": "action", "seq": 2, "time": "2026-11-20T10:11:12.123456789Z",
            "process": {"exe": "/bin/ls", "pid": 9, "argv": ["ls", "-l"]}, "tools": ["run"], "caused_by": "00ff",
            "link": "process_time"});
        let expected = "10:11:12.123 #2 ACTION /bin/ls(9) ls -l <- run of 00ff by process_time";
        assert_eq!(line(&record), expected);
    }

    #[test]
    fn shows_what_is_served_and_who_changed_it() {
        let admin = json!({"record_type": "admin", "seq": 1, "status": 200, "action": "pull", "model": "m", "digest": null,
            "client": {"address": "10.0.0.1"}});
        assert!(
            line(&admin).ends_with("ADMIN  200 pull m  <- 10.0.0.1"),
            "{}",
            line(&admin)
        );
        let inventory = json!({"record_type": "inventory", "seq": 1, "source": "ollama_tags",
            "models": [{"name": "m", "digest": "b", "replaces": "a"}]});
        assert!(
            line(&inventory).ends_with("SERVES ollama_tags: m b REPLACES a"),
            "{}",
            line(&inventory)
        );
    }

    #[test]
    fn what_came_from_the_wire_cannot_steer_the_terminal() {
        let record = json!({"record_type": "inference", "model": "\u{1b}[2J\r\nfake", "seq": 1});
        assert!(!line(&record).contains(['\u{1b}', '\n', '\r']));
    }
}
