//! A commit of the content store: from records that wait to records that name what is durable.
//!
//! In: the queue. Out: the same records in their order, with their place or their loss. Never: an object whose record was not told
//! what became of it.

use super::users::{self, Owner};
use super::{Held, Lost, Open, Ready, StoreError};
use crate::content::{age, tar};
use crate::record::person::Person;
use crate::record::{Body, Gap, rfc3339};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Users of a commit, by the names of their files, and where their objects are in the queue.
type Groups = BTreeMap<String, Vec<usize>>;

impl Open {
    /// Gives every waiting record its pseudonyms and the place of its content.
    pub(super) fn settle(&mut self, ready: &mut Vec<Ready>) {
        self.held_bytes = 0;
        let mut queue = std::mem::take(&mut self.queue);
        let mut groups = Groups::new();
        let mut problem = None;
        for at in 0..queue.len() {
            let Some(Held { body, object, .. }) = queue.get_mut(at) else {
                continue;
            };
            let Some(person) = body.person() else { continue };
            let (tag, owner) = self.own(person);
            let (Body::Inference(inference), Some(object)) = (&mut **body, object) else {
                continue;
            };
            let content = inference.content.insert(object.content.clone());
            if content.state == "empty" {
                continue;
            }
            match owner {
                Owner::Kept(_) => groups.entry(tag).or_default().push(at),
                Owner::Refused(_) => {
                    content.nothing("refused");
                    self.count("content_refused", 1);
                }
                Owner::Failed(_, error) => {
                    problem = Some(error);
                    self.lose(&mut queue, at);
                }
            }
        }
        let tried = !groups.is_empty();
        let stored = self.store(groups, &mut queue);
        problem = problem.or(stored.err());
        if tried || problem.is_some() {
            self.say(problem.as_ref());
        }
        self.users.settled();
        ready.extend(self.lost_gap(&queue));
        ready.extend(queue.into_iter().map(|held| (held.body, held.unix_ns)));
    }

    /// Replaces the hashes of a record by its user's own.
    fn own(&mut self, person: Person<'_>) -> (String, Owner) {
        let tag = users::tag(person.user_id.as_deref());
        let owner = self.users.owner(&tag, &mut self.random);
        let user = owner.user();
        let keyed = |hash: &&mut String| hash.starts_with("hmac-sha256:");
        if let Some(key) = person.api_key_hash.take() {
            let holder = self.users.owner(&users::tag(Some(&key)), &mut self.random);
            *person.api_key_hash = Some(holder.user().pseudonym(&key));
        }
        let hashes = person.content.into_iter().chain(person.session_hash);
        for hash in hashes.chain([person.user_id]).flatten().filter(keyed) {
            *hash = user.pseudonym(hash);
        }
        *person.salt_id = user.salt_id();
        (tag, owner)
    }

    /// Encrypts and writes the objects of each user; their records say where, or that they are lost.
    fn store(&mut self, groups: Groups, queue: &mut [Held]) -> Result<(), StoreError> {
        let now = queue.last().map_or(0, |held| held.unix_ns);
        let mut archive = Vec::new();
        let mut sealed = Vec::new();
        let mut problem = Ok(());
        for (tag, places) in groups {
            match self.seal(&tag, &places, queue, &mut archive, now) {
                Ok(member) => sealed.push((member, places)),
                Err(error) => {
                    problem = Err(error);
                    places.into_iter().for_each(|at| self.lose(queue, at));
                }
            }
        }
        // Salts are kept where no text is, too.
        let synced = self.users.sync();
        if sealed.is_empty() {
            return problem.and(synced);
        }
        match synced.and_then(|()| self.segments.append(&archive, now, &mut self.random)) {
            Ok(file) => {
                for (member, places) in sealed {
                    places
                        .into_iter()
                        .for_each(|at| self.stored(queue, at, &file, &member));
                }
                problem
            }
            Err(error) => {
                let places = sealed.into_iter().flat_map(|(_, places)| places);
                places.for_each(|at| self.lose(queue, at));
                Err(error)
            }
        }
    }

    /// Appends an age file of these objects to `archive`; gives its name.
    fn seal(
        &mut self,
        tag: &str,
        places: &[usize],
        queue: &mut [Held],
        archive: &mut Vec<u8>,
        now: u64,
    ) -> Result<String, StoreError> {
        let (user, key_id, recipient) = self.users.key(tag, &self.settings.recipients, &mut self.random)?;
        let mut lines = Zeroizing::new(Vec::new());
        for at in places {
            let Some(Held {
                body,
                object: Some(object),
                ..
            }) = queue.get_mut(*at)
            else {
                continue;
            };
            let Body::Inference(inference) = &mut **body else {
                continue;
            };
            let Some(content) = &mut inference.content else {
                continue;
            };
            let address = user.address(&object.json);
            lines.extend(format!("{{\"address\":\"{address}\",\"content\":").into_bytes());
            lines.extend(&object.json);
            lines.extend(b"}\n");
            content.address = Some(address);
            content.key_id = Some(key_id.clone());
        }
        let file = age::encrypt(&lines, &[recipient], &mut self.random)?;
        let member = self.segments.next_member(&key_id);
        tar::append(archive, &member, &file, now / 1_000_000_000);
        Ok(member)
    }

    fn stored(&mut self, queue: &mut [Held], at: usize, file: &str, member: &str) {
        let Some(Held {
            body,
            object: Some(object),
            ..
        }) = queue.get_mut(at)
        else {
            return;
        };
        if let Body::Inference(inference) = &mut **body
            && let Some(content) = &mut inference.content
        {
            content.file = Some(file.to_owned());
            content.member = Some(member.to_owned());
            let bytes = object.json.len() as u64;
            self.count("content_objects", 1);
            self.count("content_bytes", bytes);
        }
    }

    fn lose(&mut self, queue: &mut [Held], at: usize) {
        let Some(Held {
            body,
            object: Some(object),
            unix_ns,
        }) = queue.get_mut(at)
        else {
            return;
        };
        if let Body::Inference(inference) = &mut **body
            && let Some(content) = &mut inference.content
        {
            content.nothing("lost");
            let lost = self.lost.get_or_insert(Lost {
                objects: 0,
                bytes: 0,
                since_ns: *unix_ns,
            });
            lost.objects += 1;
            lost.bytes = lost.bytes.saturating_add(object.json.len() as u64);
            self.count("content_lost", 1);
        }
    }

    /// The agent's own words, once for each outage.
    fn say(&mut self, problem: Option<&StoreError>) {
        match problem {
            Some(problem) if !self.failed => tracing::error!("content is lost: {problem}"),
            None if self.failed => tracing::info!("content is stored again"),
            Some(_) | None => {}
        }
        self.failed = problem.is_some();
    }

    /// What was lost is declared when storing works again, and before the log ends.
    fn lost_gap(&mut self, queue: &[Held]) -> Option<Ready> {
        let ends = queue
            .iter()
            .any(|held| matches!(*held.body, Body::AgentStop(_) | Body::Heartbeat(_)));
        let until = queue.first()?.unix_ns;
        let lost = self.lost.take_if(|_| !self.failed || ends)?;
        let gap = Gap {
            place: "content".into(),
            lost: BTreeMap::from([("objects".into(), lost.objects)]),
            lost_bytes: BTreeMap::from([("objects".into(), lost.bytes)]),
            since: Some(rfc3339(lost.since_ns)),
            until: Some(rfc3339(until)),
            connection: None,
        };
        Some((Box::new(Body::Gap(gap)), until))
    }
}
