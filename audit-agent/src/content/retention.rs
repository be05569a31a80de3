//! Which segments are over their time, or over the room that content may take. Pure.
//!
//! In: segments with their names (which begin with the time of their first content), sizes, and the limits. Out: those to
//! remove, oldest first. Never: the one that is written to.

/// How long, and how much. Zero is no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    pub seconds: u64,
    pub bytes: u64,
}

/// A file of content.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Segment {
    /// Unix time of its first content, in seconds.
    pub begins: u64,
    pub name: String,
    pub bytes: u64,
}

impl Segment {
    /// None for a name that is no segment's.
    pub fn new(name: &str, bytes: u64) -> Option<Self> {
        let (begins, _) = name.strip_suffix(".tar")?.split_once('-')?;
        Some(Self {
            begins: begins.parse().ok()?,
            name: name.into(),
            bytes,
        })
    }
}

/// The segments to remove, each with why: `age` or `size`.
pub fn due(
    mut segments: Vec<Segment>,
    open: Option<&str>,
    limits: Limits,
    now: u64,
) -> Vec<(Segment, &'static str)> {
    segments.sort();
    let mut total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let ends: Vec<u64> = segments
        .iter()
        .skip(1)
        .map(|next| next.begins)
        .chain([now])
        .collect();
    let mut due = Vec::new();
    for (segment, end) in segments.into_iter().zip(ends) {
        let old = limits.seconds > 0 && now.saturating_sub(end.max(segment.begins)) >= limits.seconds;
        let large = limits.bytes > 0 && total > limits.bytes;
        if open == Some(segment.name.as_str()) || !(old || large) {
            continue;
        }
        total -= segment.bytes;
        due.push((segment, if old { "age" } else { "size" }));
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segments(list: &[(u64, u64)]) -> Vec<Segment> {
        let name = |(begins, bytes): &(u64, u64)| Segment::new(&format!("{begins}-ab.tar"), *bytes).unwrap();
        list.iter().map(name).collect()
    }

    fn names(limits: Limits, now: u64) -> Vec<(u64, &'static str)> {
        let list = segments(&[(300, 10), (100, 10), (200, 10)]);
        let due = due(list, Some("300-ab.tar"), limits, now);
        due.into_iter()
            .map(|(segment, why)| (segment.begins, why))
            .collect()
    }

    #[test]
    fn a_segment_is_as_old_as_its_last_content() {
        let limits = Limits {
            seconds: 50,
            bytes: 0,
        };
        assert_eq!(names(limits, 249), []);
        assert_eq!(names(limits, 250), [(100, "age")]);
        assert_eq!(names(limits, 9999), [(100, "age"), (200, "age")]);
    }

    #[test]
    fn the_oldest_go_first_when_there_is_too_much() {
        assert_eq!(
            names(
                Limits {
                    seconds: 0,
                    bytes: 30
                },
                9999
            ),
            []
        );
        assert_eq!(
            names(
                Limits {
                    seconds: 0,
                    bytes: 29
                },
                9999
            ),
            [(100, "size")]
        );
        assert_eq!(
            names(Limits { seconds: 0, bytes: 1 }, 9999),
            [(100, "size"), (200, "size")]
        );
        assert_eq!(names(Limits::default(), 9999), []);
    }

    #[test]
    fn other_files_are_left_alone() {
        for name in ["", "x.tar", "12.tar", "-ab.tar", "12-ab.tar.gz", "../12-ab.tar"] {
            assert_eq!(Segment::new(name, 1), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_within_the_limits_or_still_open(
            list in prop::collection::vec((0u64..1000, 0u64..100), 1..20), seconds in 1u64..500, bytes in 1u64..1000,
        ) {
            let all = segments(&list);
            let open = all.iter().max().unwrap().clone();
            let limits = Limits { seconds, bytes };
            let gone = due(all.clone(), Some(&open.name), limits, 2000);
            let kept = all.iter().map(|s| s.bytes).sum::<u64>() - gone.iter().map(|(s, _)| s.bytes).sum::<u64>();
            let open_bytes: u64 = all.iter().filter(|s| s.name == open.name).map(|s| s.bytes).sum();
            prop_assert!(kept <= bytes.max(open_bytes));
            prop_assert!(gone.iter().all(|(segment, _)| segment.name != open.name));
        }
    }
}
