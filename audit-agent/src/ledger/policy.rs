//! Which cosignatures are enough: a policy file in the form that Sigsum and C2SP tlog-policy use.
//!
//! In: lines `log <vkey> [url]`, `witness <name> <vkey> [url]`, `group <name> <k|any|all> <member>...`,
//! `quorum <name|none>`; `#` begins a comment. Out: whether the witnesses that signed satisfy the quorum.

use super::keys::Verifier;
use super::note::{Note, NoteError};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

#[derive(Debug, Eq, Error, PartialEq)]
pub enum PolicyError {
    #[error("line {line} of the policy: {reason}")]
    Line { line: usize, reason: String },
    #[error("the policy has no `quorum` line")]
    NoQuorum,
}

/// A witness and where it answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Witness {
    pub name: String,
    pub key: Verifier,
    pub url: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Group {
    least: usize,
    members: Vec<String>,
}

/// A parsed policy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    pub logs: Vec<Verifier>,
    pub witnesses: Vec<Witness>,
    groups: BTreeMap<String, Group>,
    /// None: no witness is asked for.
    quorum: Option<String>,
}

/// A witness's signature over a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cosigned {
    pub witness: String,
    /// POSIX seconds that the witness signed.
    pub time: u64,
}

impl Policy {
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        let mut quorum = false;
        for (at, line) in text.lines().enumerate() {
            if at >= limits::POLICY_LINES {
                let reason = format!("more than {} lines are not read", limits::POLICY_LINES);
                return Err(PolicyError::Line { line: at + 1, reason });
            }
            let words: Vec<&str> = line
                .split('#')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            let read = policy.line(&words, &mut quorum);
            read.map_err(|reason| PolicyError::Line { line: at + 1, reason })?;
        }
        if quorum {
            Ok(policy)
        } else {
            Err(PolicyError::NoQuorum)
        }
    }

    fn line(&mut self, words: &[&str], quorum: &mut bool) -> Result<(), String> {
        match words {
            [] => {}
            ["log", key] | ["log", key, _] => self.logs.push(verifier(key)?),
            ["witness", name, key, url @ ..] if url.len() < 2 => {
                self.new_name(name)?;
                let key = verifier(key)?.cosigner();
                self.new_key(&key)?;
                self.witnesses.push(Witness {
                    name: (*name).into(),
                    key,
                    url: url.first().map(|url| (*url).into()),
                });
            }
            ["group", name, least, members @ ..] if !members.is_empty() => {
                self.group(name, least, members)?
            }
            ["quorum", name] if !*quorum => {
                *quorum = true;
                self.quorum = (*name != "none").then(|| self.known(name)).transpose()?;
            }
            _ => return Err(format!("not understood: {}", words.join(" "))),
        }
        Ok(())
    }

    fn group(&mut self, name: &str, least: &str, members: &[&str]) -> Result<(), String> {
        self.new_name(name)?;
        let least = match least {
            "any" => 1,
            "all" => members.len(),
            count => count
                .parse()
                .map_err(|_| format!("`{count}` is no number of members"))?,
        };
        // Only names from above: so a group cannot hold itself.
        let members: Vec<String> = members
            .iter()
            .map(|name| self.known(name))
            .collect::<Result<_, _>>()?;
        let distinct: BTreeSet<&String> = members.iter().collect();
        if least == 0 || least > members.len() || distinct.len() != members.len() {
            return Err(format!("{least} of {} members can never be right", members.len()));
        }
        self.groups.insert(name.into(), Group { least, members });
        Ok(())
    }

    fn new_name(&self, name: &str) -> Result<(), String> {
        if name == "none" || self.known(name).is_ok() {
            return Err(format!("`{name}` is there already"));
        }
        Ok(())
    }

    /// One key under two names would count as two witnesses.
    fn new_key(&self, key: &Verifier) -> Result<(), String> {
        match self.witnesses.iter().find(|witness| witness.key.is_key_of(key)) {
            Some(witness) => Err(format!("the key is that of `{}` already", witness.name)),
            None => Ok(()),
        }
    }

    fn known(&self, name: &str) -> Result<String, String> {
        let known =
            self.groups.contains_key(name) || self.witnesses.iter().any(|witness| witness.name == name);
        known
            .then(|| name.to_owned())
            .ok_or(format!("`{name}` is not defined above"))
    }

    /// The witnesses whose cosignature `note` has. A false one spoils the note.
    pub fn cosigned(&self, note: &Note) -> Result<Vec<Cosigned>, NoteError> {
        let mut found = Vec::new();
        for witness in &self.witnesses {
            match note.signed_by(&witness.key) {
                Ok(time) => found.push(Cosigned {
                    witness: witness.name.clone(),
                    time,
                }),
                Err(NoteError::Unsigned) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Whether these witnesses are enough.
    pub fn is_met(&self, signed: &BTreeSet<&str>) -> bool {
        self.quorum
            .as_ref()
            .is_none_or(|quorum| self.holds(quorum, signed))
    }

    fn holds(&self, name: &str, signed: &BTreeSet<&str>) -> bool {
        match self.groups.get(name) {
            Some(group) => {
                group
                    .members
                    .iter()
                    .filter(|member| self.holds(member, signed))
                    .count()
                    >= group.least
            }
            None => signed.contains(name),
        }
    }
}

fn verifier(key: &str) -> Result<Verifier, String> {
    Verifier::parse(key).map_err(|error| error.to_string())
}

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::keys::LogKey;

    fn witness(number: u8) -> String {
        LogKey::new(&format!("witness.example/{number}"), &[number; 32])
            .verifier()
            .cosigner()
            .to_string()
    }

    /// The same key with another name in it, and so with another id.
    fn renamed(number: u8) -> String {
        LogKey::new("other.example", &[number; 32]).verifier().to_string()
    }

    fn policy(rest: &str) -> Result<Policy, PolicyError> {
        let lines = (1..=3).map(|n| format!("witness w{n} {} http://127.0.0.1:{n}\n", witness(n)));
        Policy::parse(&(lines.collect::<String>() + rest))
    }

    #[test]
    fn quorums_count_members_of_groups() {
        let two = policy("# two of three\ngroup g 2 w1 w2 w3\nquorum g\n").unwrap();
        assert!(!two.is_met(&BTreeSet::from(["w1"])));
        assert!(two.is_met(&BTreeSet::from(["w1", "w3"])));
        let nested = policy("group a any w1 w2\ngroup b all a w3\nquorum b\n").unwrap();
        assert!(!nested.is_met(&BTreeSet::from(["w1", "w2"])));
        assert!(nested.is_met(&BTreeSet::from(["w2", "w3"])));
        assert!(policy("quorum none").unwrap().is_met(&BTreeSet::new()));
    }

    #[test]
    fn lines_beyond_the_cap_are_not_left_out_without_a_word() {
        let error = policy(&("#\n".repeat(limits::POLICY_LINES) + "quorum none")).unwrap_err();
        assert!(error.to_string().contains("line 10001"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (rest, word) in [
            ("", "quorum"),
            ("quorum x", "line 4"),
            (&format!("witness w4 {}\nquorum none", witness(3)), "that of `w3`"),
            (&format!("witness w4 {}\nquorum none", renamed(3)), "that of `w3`"),
            ("group g 4 w1 w2 w3\nquorum g", "never"),
            ("group g 2 w1 w1\nquorum g", "never"),
            ("group g 0 w1\nquorum g", "never"),
            ("group w1 any w2\nquorum w1", "already"),
            ("group g any g\nquorum g", "not defined"),
            ("quorum none\nquorum none", "not understood"),
            ("wittness a b\nquorum none", "not understood"),
            ("log nonsense\nquorum none", "verifier key"),
        ] {
            let error = policy(rest).unwrap_err().to_string();
            assert!(error.contains(word), "{rest}: {error}");
        }
    }
}
