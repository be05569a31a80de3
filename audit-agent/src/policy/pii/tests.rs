use super::*;
use proptest::prelude::*;
use serde_json::json;

fn masked(input: &str) -> String {
    text(input, &mut Counts::new())
}

#[test]
fn each_kind_is_masked_and_counted() {
    let mut counts = Counts::new();
    let input = "Write to jane.doe+x@mail.example.org, call +49 (0)89 1234-5678 or (212) 555-0123, pay with 4111 1111 1111 1111 \
        to DE89 3704 0044 0532 0130 00. Key sk-abcdefghijklmnop1234; Authorization: Bearer abcdef123456";
    let expected = "Write to [email], call [phone] or [phone], pay with [card] to [iban]. Key [secret]; Authorization: Bearer [secret]";
    assert_eq!(text(input, &mut counts), expected);
    let expected = Counts::from([
        ("card", 1),
        ("email", 1),
        ("iban", 1),
        ("phone", 2),
        ("secret", 2),
    ]);
    assert_eq!(counts, expected);
}

#[test]
fn pictures_and_sounds_are_masked_however_their_slashes_are_written() {
    for line in ["iVBORw0KGgo/AAA+", r"iVBORw0KGgo\/AAA+"] {
        let url = format!("data:image/png;base64,{}", line.repeat(200));
        assert_eq!(masked(&url), "data:image/png;base64,[media]");
        let picture = json!({"data": line.repeat(200), "text": "line\n".repeat(1000)});
        let (mut counts, text) = (Counts::new(), "line\n".repeat(1000));
        let expected = json!({"data": "[media]", "text": text});
        assert_eq!(value(picture, &mut counts), expected);
        assert_eq!(counts, Counts::from([("media", 1)]));
    }
}

#[test]
fn members_that_are_masked_alike_all_stay() {
    let given = json!({"a@b.co": 1, "c@d.co": 2, "e@f.co": 3, "name": 4});
    let expected = json!({"[email]": 1, "[email]#2": 2, "[email]#3": 3, "name": 4});
    assert_eq!(value(given, &mut Counts::new()), expected);
}

#[test]
fn forms_that_are_masked() {
    for (input, expected) in [
        ("a@b.co", "[email]"),
        ("mailto:ä.ö@exämple.de!", "mailto:ä.ö@exämple.de!"),
        ("<x@y.z>", "<[email]>"),
        ("5500005555555559", "[card]"),
        ("3782-822463-10005 ok", "[card] ok"),
        ("GB29NWBK60161331926819", "[iban]"),
        ("gb29 nwbk 6016 1331 9268 19 please", "[iban] please"),
        ("+14155552671", "[phone]"),
        ("089/12345678", "[phone]"),
        ("415-555-2671", "[phone]"),
        (
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
            "[secret]",
        ),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]"),
        ("password=hunter22 x", "password=[secret] x"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx",
            "[secret]\nx",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "[secret]"),
    ] {
        let found = masked(input);
        // Letters outside ASCII in an address are masked from the first ASCII letter on at the latest.
        if input.starts_with("mailto") {
            assert!(!found.contains("@ex"), "{found}");
        } else {
            assert_eq!(found, expected, "{input}");
        }
    }
}

#[test]
fn what_is_nothing_of_the_kind_stays() {
    for text in [
        "On 2026-11-21 08:15:30 the value was 1234567890 and 3.14159265358979",
        "user@localhost said: see @alice, 10.0.0.1:8080, v1.2.3",
        "4111 1111 1111 1112 has a wrong check digit",
        "DE00370400440532013000",
        "the bearer of this letter; token: yes",
        "0x1234567890abcdef 00000000-0000-0000-0000-000000000000",
        "sk-short",
        "max_tokens=100000000",
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn json_stays_json_and_its_names_and_numbers_are_masked_too() {
    let mut counts = Counts::new();
    let input = json!({"a@b.co": 1, "c@d.co": [4111111111111111u64, true, null, "x@y.org"], "n": 1.5});
    let expected = json!({"[email]": 1, "[email]#2": ["[card]", true, null, "[email]"], "n": 1.5});
    assert_eq!(value(input, &mut counts), expected);
    assert_eq!(counts, Counts::from([("card", 1), ("email", 3)]));
}

#[test]
fn time_is_linear_on_what_is_meant_to_be_slow() {
    for unit in [
        "a.",
        "1 ",
        "+1",
        "eyJ.",
        "(0",
        "DE89",
        "a@",
        "-----BEGIN ",
        "sk-",
        "bearer ",
        "0-",
    ] {
        let long = unit.repeat(50_000 / unit.len());
        assert!(!masked(&long).is_empty());
    }
}

proptest! {
    #[test]
    fn what_is_left_is_what_was_there_in_its_order(input in "([ -Z^-~]|\\PC|[0-9]{4} |@|\\.){0,200}") {
        prop_assume!(!input.contains(['[', ']']));
        let mut counts = Counts::new();
        let found = text(&input, &mut counts);
        let pieces: Vec<&str> = found.split(['[', ']']).step_by(2).collect();
        prop_assert_eq!(pieces.len() as u64 - 1, counts.values().sum::<u64>());
        let mut rest = input.as_str();
        for piece in pieces {
            let at = rest.find(piece);
            prop_assert!(at.is_some(), "{:?} is not in {:?}", piece, rest);
            rest = &rest[at.unwrap() + piece.len()..];
        }
    }

    #[test]
    fn an_address_never_comes_through(before in "[ \n,(]{0,3}", name in "[a-z][a-z0-9.]{0,20}[a-z]", host in "[a-z]{1,10}\\.[a-z]{2,4}", after in "[ .,)\n]{0,3}") {
        let address = format!("{name}@{host}");
        let found = masked(&format!("{before}{address}{after}"));
        prop_assert_eq!(found, format!("{before}[email]{after}"));
    }

    #[test]
    fn a_card_never_comes_through(number in prop::collection::vec(0u8..10, 15), separator in prop::sample::select(vec!["", " ", "-"])) {
        prop_assume!(number.iter().any(|digit| *digit != 0));
        let sum: u32 = number.iter().rev().enumerate().map(|(place, digit)| {
            let twice = u32::from(*digit) * if place % 2 == 0 { 2 } else { 1 };
            if twice > 9 { twice - 9 } else { twice }
        }).sum();
        let mut card: Vec<String> = number.iter().map(u8::to_string).collect();
        card.push(((10 - sum % 10) % 10).to_string());
        let groups: Vec<String> = card.chunks(4).map(|group| group.concat()).collect();
        let card = groups.join(separator);
        let found = masked(&format!("card {card} end"));
        prop_assert!(!found.contains(&card), "{}", found);
    }
}
