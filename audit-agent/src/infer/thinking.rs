//! Reasoning that a model wrote into its answer, told apart from it.
//!
//! In: the whole text of one choice. Out: reasoning and answer. Sources: the chat templates of DeepSeek R1 and Qwen 3
//! (`<think>`), OpenAI's harmony response format (channels).

/// What a text is made of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Parts {
    pub reasoning: String,
    pub answer: String,
}

/// The parts of `text`; None when it has no marks of reasoning at its beginning.
pub fn split(text: &str) -> Option<Parts> {
    let begin = text.trim_start();
    if begin.starts_with(CHANNEL) || begin.starts_with(START) {
        return Some(harmony(begin));
    }
    for (open, close) in TAGS {
        if let Some(rest) = begin.strip_prefix(open) {
            // Without its end the answer was cut inside the reasoning.
            let (reasoning, answer) = rest.split_once(close).unwrap_or((rest, ""));
            return Some(parts(reasoning, answer));
        }
        // Templates may put the opening tag into the prompt. A line of its own tells it from a text about such tags.
        let lone = format!("{close}\n");
        if let Some((reasoning, answer)) = text.split_once(&lone).filter(|_| !text.contains(open)) {
            return Some(parts(reasoning, answer));
        }
    }
    None
}

const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("[THINK]", "[/THINK]")];
const START: &str = "<|start|>";
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";

fn parts(reasoning: &str, answer: &str) -> Parts {
    Parts {
        reasoning: reasoning.trim().to_owned(),
        answer: answer.trim_start().to_owned(),
    }
}

/// `<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...`: what is not of the final
/// channel is reasoning.
fn harmony(text: &str) -> Parts {
    let mut parts = Parts::default();
    for message in text.split(CHANNEL).skip(1) {
        let (channel, body) = message.split_once(MESSAGE).unwrap_or((message, ""));
        let ends = ["<|end|>", "<|return|>", "<|call|>", START]
            .iter()
            .filter_map(|mark| body.find(mark))
            .min();
        let body = body.get(..ends.unwrap_or(body.len())).unwrap_or_default();
        match channel.split_whitespace().next() {
            Some("final") => parts.answer.push_str(body),
            _ => parts.reasoning.push_str(body),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_reasoning_from_the_answer() {
        let cases = [
            ("<think>\nhm\n</think>\n\nyes", "hm", "yes"),
            ("\n<think>cut in the mid", "cut in the mid", ""),
            ("hm\n</think>\n\nyes", "hm", "yes"),
            ("[THINK]hm[/THINK]yes", "hm", "yes"),
            (
                "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>yes<|return|>",
                "hm",
                "yes",
            ),
            (
                "<|start|>assistant<|channel|>commentary to=f<|message|>x",
                "x",
                "",
            ),
        ];
        for (text, reasoning, answer) in cases {
            let parts = split(text).unwrap();
            assert_eq!(
                (parts.reasoning.as_str(), parts.answer.as_str()),
                (reasoning, answer),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_about_tags_is_a_text() {
        for text in ["", "use <think> and </think>\n so", "a </think> b", "<thinking>"] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
