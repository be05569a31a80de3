//! What of a record leads to who asked and what: the members that a user's salt is put over, and that content mode `none`
//! leaves empty.
//!
//! In: a record. Out: its members, to be replaced in place. Never: a hash of content that is not listed here.

use super::Body;
use super::inference::Inference;
use super::served::Admin;

/// Members of one record.
#[derive(Debug)]
pub struct Person<'a> {
    pub api_key_hash: &'a mut Option<String>,
    pub salt_id: &'a mut String,
    pub session_hash: Option<&'a mut Option<String>>,
    pub user_id: &'a mut Option<String>,
    /// Hashes of what was asked and answered.
    pub content: Vec<&'a mut Option<String>>,
}

impl Body {
    /// None of a record that is about nobody.
    pub fn person(&mut self) -> Option<Person<'_>> {
        match self {
            Self::Inference(record) => Some(of_inference(record)),
            Self::Admin(record) => Some(of_admin(record)),
            _ => None,
        }
    }

    /// The hashes of what was asked and answered; not those of who asked.
    pub fn content_hashes(&mut self) -> impl Iterator<Item = &mut Option<String>> {
        self.person().into_iter().flat_map(|person| person.content)
    }
}

fn of_inference(record: &mut Inference) -> Person<'_> {
    let tools = record.tool_calls.iter_mut().map(|tool| &mut tool.arguments_hash);
    let attachments = record.attachments.iter_mut().map(|attached| &mut attached.hash);
    let own = [
        &mut record.prompt_hash,
        &mut record.rendered_prompt_hash,
        &mut record.chat_template_hash,
        &mut record.completion_hash,
        &mut record.reasoning_hash,
        &mut record.request_body_hash,
        &mut record.response_body_hash,
    ];
    Person {
        api_key_hash: &mut record.api_key_hash,
        salt_id: &mut record.salt_id,
        session_hash: Some(&mut record.session_hash),
        user_id: &mut record.user_id,
        content: own.into_iter().chain(tools).chain(attachments).collect(),
    }
}

fn of_admin(record: &mut Admin) -> Person<'_> {
    Person {
        api_key_hash: &mut record.api_key_hash,
        salt_id: &mut record.salt_id,
        session_hash: None,
        user_id: &mut record.user_id,
        content: vec![&mut record.request_body_hash],
    }
}

#[cfg(test)]
mod tests {
    use super::super::inference::{Attachment, ToolCall};
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    const HASH: &str = "hmac-sha256:00";

    /// Names of the members of `value`, at any depth, that are hashes of the wire and hold one or, where `empty`, hold none.
    fn hashes(value: &Value, empty: bool, out: &mut BTreeSet<String>) {
        if let Value::Array(items) = value {
            items.iter().for_each(|item| hashes(item, empty, out));
        }
        for (name, member) in value.as_object().into_iter().flatten() {
            let is_hash = name.ends_with("hash") || name == "user_id";
            if is_hash && member.is_null() == empty {
                out.insert(name.clone());
            }
            hashes(member, empty, out);
        }
    }

    /// What is left of a record's hashes when those of content are taken out, and what is taken.
    fn split(mut body: Body) -> (Vec<String>, Vec<String>) {
        if let Some(person) = body.person() {
            let who = [person.api_key_hash, person.user_id];
            let all = person.content.into_iter().chain(person.session_hash).chain(who);
            all.for_each(|hash| *hash = Some(HASH.into()));
        }
        let (mut unknown, mut left, mut gone) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        hashes(&serde_json::to_value(&body).unwrap(), true, &mut unknown);
        assert!(
            unknown.is_empty(),
            "is it of content, or of who asked? {unknown:?}"
        );
        body.content_hashes().for_each(|hash| *hash = None);
        let value = serde_json::to_value(&body).unwrap();
        hashes(&value, false, &mut left);
        hashes(&value, true, &mut gone);
        (left.into_iter().collect(), gone.into_iter().collect())
    }

    #[test]
    fn every_hash_of_an_inference_is_of_content_or_of_who_asked() {
        let record = Inference {
            attachments: vec![Attachment::default()],
            tool_calls: vec![ToolCall::default()],
            ..Inference::default()
        };
        let (left, gone) = split(Body::Inference(Box::new(record)));
        assert_eq!(left, ["api_key_hash", "session_hash", "user_id"]);
        assert_eq!(
            gone,
            [
                "arguments_hash",
                "chat_template_hash",
                "completion_hash",
                "hash",
                "prompt_hash",
                "reasoning_hash",
                "rendered_prompt_hash",
                "request_body_hash",
                "response_body_hash"
            ]
        );
    }

    #[test]
    fn every_hash_of_an_admin_call_is_of_content_or_of_who_asked() {
        let (left, gone) = split(Body::Admin(Box::default()));
        assert_eq!(left, ["api_key_hash", "user_id"]);
        assert_eq!(gone, ["request_body_hash"]);
    }
}
