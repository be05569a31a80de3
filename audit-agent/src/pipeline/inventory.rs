//! What servers were last known to serve, so that only news is recorded.
//!
//! In: inventories as they are heard, however often. Out: those that differ from the last one of their server and source, with what each
//! model's digest was before. Never: more than [`limits::INVENTORIES`] servers' answers; the oldest goes first.

use crate::call::Inventory;
use crate::event::ModelFile;
use crate::limits;
use std::collections::BTreeMap;

/// What is known of a model from before.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// When its digest was first heard under its name; boot time.
    pub since_ns: u64,
    pub replaces: Option<String>,
}

/// A server: its process and port, and which of its answers.
type Key = (Option<u32>, u16, &'static str);

#[derive(Debug)]
struct Known {
    heard_ns: u64,
    told: Inventory,
    since_ns: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
pub struct Inventories {
    known: BTreeMap<Key, Known>,
    /// Digest of the weights at a path, and when it was learned.
    weights: BTreeMap<String, (String, u64)>,
}

impl Inventories {
    /// Takes an answer; gives what was known of each of its models if the answer is news.
    pub fn news(&mut self, pid: Option<u32>, port: u16, told: &Inventory, now_ns: u64) -> Option<Vec<Seen>> {
        let key = (pid, port, told.source);
        let before = self.known.get_mut(&key);
        if let Some(known) = before {
            known.heard_ns = now_ns;
            if known.told == *told {
                return None;
            }
        } else if self.known.len() >= limits::INVENTORIES {
            self.forget_oldest();
        }
        // A server that was started anew has the same port: its models are compared with the old one's.
        let old = self
            .known
            .iter()
            .filter(|((_, of, source), _)| (*of, *source) == (port, told.source));
        let old = old
            .max_by_key(|(_, known)| known.heard_ns)
            .map(|(_, known)| known);
        let seen: Vec<Seen> = told
            .models
            .iter()
            .map(|model| compare(old, model, now_ns))
            .collect();
        let names = told.models.iter().map(|model| model.name.clone());
        let since_ns = names.zip(seen.iter().map(|seen| seen.since_ns)).collect();
        self.known.insert(
            key,
            Known {
                heard_ns: now_ns,
                told: told.clone(),
                since_ns,
            },
        );
        Some(seen)
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .known
            .iter()
            .min_by_key(|(_, known)| known.heard_ns)
            .map(|(key, _)| *key);
        oldest.and_then(|key| self.known.remove(&key));
    }

    /// Remembers the digest of a weights file; gives the one that its path had before, if that was another.
    pub fn weights(&mut self, file: &ModelFile, now_ns: u64) -> Option<String> {
        let digest = file.sha256.clone()?;
        if self.weights.len() >= limits::REPLACED_WEIGHTS && !self.weights.contains_key(&file.path) {
            let oldest = self
                .weights
                .iter()
                .min_by_key(|(_, (_, at))| *at)
                .map(|(path, _)| path.clone());
            oldest.and_then(|path| self.weights.remove(&path));
        }
        let before = self.weights.insert(file.path.clone(), (digest.clone(), now_ns));
        before
            .map(|(before, _)| before)
            .filter(|before| *before != digest)
    }
}

fn compare(old: Option<&Known>, model: &crate::call::ModelEntry, now_ns: u64) -> Seen {
    let fresh = Seen {
        since_ns: now_ns,
        replaces: None,
    };
    let Some(old) = old else { return fresh };
    let Some(before) = old.told.models.iter().find(|before| before.name == model.name) else {
        return fresh;
    };
    let identity = |entry: &crate::call::ModelEntry| entry.digest.clone().or_else(|| entry.path.clone());
    if identity(before) == identity(model) {
        return Seen {
            since_ns: old.since_ns.get(&model.name).copied().unwrap_or(now_ns),
            replaces: None,
        };
    }
    Seen {
        since_ns: now_ns,
        replaces: identity(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ModelEntry;

    fn told(digest: &str) -> Inventory {
        let model = ModelEntry {
            name: "m".into(),
            digest: Some(digest.into()),
            ..ModelEntry::default()
        };
        Inventory {
            source: "ollama_tags",
            models: vec![model],
            ..Inventory::default()
        }
    }

    #[test]
    fn a_repeated_answer_is_no_news() {
        let mut inventories = Inventories::default();
        assert!(inventories.news(Some(1), 80, &told("a"), 5).is_some());
        assert_eq!(inventories.news(Some(1), 80, &told("a"), 6), None);
        assert!(inventories.news(Some(1), 81, &told("a"), 7).is_some());
    }

    #[test]
    fn another_digest_under_the_same_name_replaces_the_one_before() {
        let mut inventories = Inventories::default();
        inventories.news(Some(1), 80, &told("a"), 5);
        let seen = inventories.news(Some(2), 80, &told("b"), 9).unwrap();
        assert_eq!((seen[0].since_ns, seen[0].replaces.as_deref()), (9, Some("a")));
        let seen = inventories.news(Some(3), 80, &told("b"), 20).unwrap();
        assert_eq!((seen[0].since_ns, seen[0].replaces.as_deref()), (9, None));
    }

    #[test]
    fn servers_are_forgotten_oldest_first() {
        let mut inventories = Inventories::default();
        for pid in 0..limits::INVENTORIES as u32 + 1 {
            inventories.news(Some(pid), 1, &told("a"), pid.into());
        }
        assert_eq!(inventories.known.len(), limits::INVENTORIES);
        assert!(inventories.news(Some(0), 1, &told("a"), 1_000_000).is_some());
    }

    #[test]
    fn weights_that_changed_at_their_path_replace_others() {
        let mut inventories = Inventories::default();
        let file = |digest: &str| ModelFile {
            path: "/m.gguf".into(),
            sha256: Some(digest.into()),
            ..ModelFile::default()
        };
        assert_eq!(inventories.weights(&file("a"), 1), None);
        assert_eq!(inventories.weights(&file("a"), 2), None);
        assert_eq!(inventories.weights(&file("b"), 3).as_deref(), Some("a"));
    }
}
