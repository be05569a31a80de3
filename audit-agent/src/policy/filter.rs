//! Which servers are watched, where the operator does not want all of them.
//!
//! In: the configured lists, a connection's port and its server's process. Out: yes or no. An empty list allows all.

use crate::event::ProcessFact;
use serde::Deserialize;

/// Lists of the configuration's `[filter]` section. Patterns may have `*`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    pub ports: Vec<u16>,
    pub not_ports: Vec<u16>,
    pub exe: Vec<String>,
    pub comm: Vec<String>,
    pub cgroup: Vec<String>,
    pub unit: Vec<String>,
}

impl Filter {
    /// Whether connections to `port` may be watched at all.
    pub fn allows_port(&self, port: u16) -> bool {
        (self.ports.is_empty() || self.ports.contains(&port)) && !self.not_ports.contains(&port)
    }

    /// Whether the operator chose ports at all.
    pub fn chooses_ports(&self) -> bool {
        !self.ports.is_empty()
    }

    /// Whether a server may be watched; a fact that is not known matches no pattern.
    pub fn allows_process(&self, process: &ProcessFact) -> bool {
        let fits = |patterns: &[String], value: Option<&str>| {
            patterns.is_empty()
                || value.is_some_and(|value| patterns.iter().any(|pattern| matches(pattern, value)))
        };
        fits(&self.exe, process.exe.as_deref())
            && fits(&self.comm, Some(&process.comm))
            && fits(&self.cgroup, process.workload.cgroup.as_deref())
            && (fits(&self.unit, process.workload.systemd_unit.as_deref())
                || fits(&self.unit, process.workload.systemd_user_unit.as_deref()))
    }
}

/// `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut last_matched = !pattern.contains('*');
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
        last_matched = false;
    }
    last_matched && rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_values() {
        assert!(matches("*/llama-server", "/usr/bin/llama-server"));
        assert!(matches("llama*", "llama-server"));
        assert!(matches("a*c*e", "abcde"));
        assert!(!matches("llama", "llama-server"));
        assert!(!matches("*/llama", "/usr/bin/llama-server"));
    }

    #[test]
    fn lists_narrow_and_empty_ones_do_not() {
        let process = ProcessFact {
            comm: "llama-server".into(),
            ..ProcessFact::default()
        };
        assert!(Filter::default().allows_process(&process));
        let filter = Filter {
            unit: vec!["llm.service".into()],
            ports: vec![8080],
            ..Filter::default()
        };
        assert!(!filter.allows_process(&process), "an unknown unit matches none");
        assert!(filter.allows_port(8080) && !filter.allows_port(80));
    }
}
