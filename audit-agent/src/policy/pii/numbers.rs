//! Numbers that name somebody: payment cards, bank accounts, telephones.
//!
//! In: the bytes from where one may begin. Out: its length. Cards and accounts have check digits, which are checked.

/// Digits from the start of `bytes`, with single separators between them: value by digit, and the length up to each.
fn digits(bytes: &[u8], separators: &[u8], most: usize) -> Vec<(u8, usize)> {
    let mut found: Vec<(u8, usize)> = Vec::new();
    let mut separated = true;
    for (at, byte) in bytes.iter().enumerate() {
        if byte.is_ascii_digit() {
            if found.len() == most {
                return Vec::new();
            }
            found.push((byte - b'0', at + 1));
            separated = false;
        } else if separators.contains(byte) && !separated {
            separated = true;
        } else {
            break;
        }
    }
    found
}

/// ISO/IEC 7812: 13 to 19 digits of which the last is Luhn's check digit.
pub fn card(bytes: &[u8]) -> Option<usize> {
    // One digit more than a card has: a longer number is none.
    let digits = digits(bytes, b" -", 20);
    let end = digits.last()?.1;
    if bytes.get(end).is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let luhn = |digits: &[(u8, usize)]| {
        let doubled = |(place, digit): (usize, u8)| match place % 2 {
            1 if digit > 4 => u32::from(digit) * 2 - 9,
            1 => u32::from(digit) * 2,
            _ => u32::from(digit),
        };
        let digits = digits.iter().rev().map(|(digit, _)| *digit);
        digits.enumerate().map(doubled).sum::<u32>() % 10 == 0
    };
    let whole = |length: usize| {
        let card = digits.get(..length)?;
        let zeros = card.iter().all(|(digit, _)| *digit == 0);
        // A group of other digits may follow behind a space, but a digit may not.
        let end = card.last()?.1;
        let ends = bytes.get(end).is_none_or(|byte| !byte.is_ascii_digit());
        (ends && !zeros && luhn(card)).then_some(end)
    };
    (13..=19).rev().find_map(whole)
}

/// ISO 13616: country, check digits, up to 30 letters and digits, in groups or not; modulo 97 it is 1.
pub fn iban(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..4)?;
    let country = head.get(..2)?.iter().all(u8::is_ascii_alphabetic);
    if !country || !head.get(2..)?.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut found: Vec<(u8, usize)> = Vec::new();
    for (at, byte) in bytes.iter().enumerate().take(34 + 12) {
        match byte {
            byte if byte.is_ascii_alphanumeric() => found.push((byte.to_ascii_uppercase(), at + 1)),
            b' ' | b'-' if bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) => {}
            _ => break,
        }
    }
    let valid = |length: usize| {
        let account = found.get(..length)?;
        let end = account.last()?.1;
        let ends = bytes.get(end).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        let turned = account.iter().skip(4).chain(account.iter().take(4));
        let rest = turned.fold(0u32, |rest, (symbol, _)| match symbol {
            digit if digit.is_ascii_digit() => (rest * 10 + u32::from(digit - b'0')) % 97,
            letter => (rest * 100 + u32::from(letter.saturating_sub(b'A')) + 10) % 97,
        });
        (ends && rest == 1).then_some(end)
    };
    // Words that follow an account in the same line are no part of it.
    (15..=34).rev().find_map(valid)
}

/// A telephone number in the forms that are hardly anything else: `+` and 8 to 15 digits (E.164), a national number of 9 to 15
/// digits with its leading 0 or an area code in parentheses, or 3-3-4 digits with separators.
pub fn phone(bytes: &[u8], before: Option<u8>) -> Option<usize> {
    if before.is_some_and(|byte| b"+.,:/-".contains(&byte)) {
        return None;
    }
    let (lead, rest) = match bytes {
        [b'+', rest @ ..] => (1, rest),
        _ => (0, bytes),
    };
    let parenthesis = rest.first() == Some(&b'(');
    let mut found = Vec::new();
    let mut separators = 0;
    for (at, byte) in rest.iter().enumerate().take(32) {
        match byte {
            digit if digit.is_ascii_digit() => {
                found.push((at, *digit));
                separators = 0;
            }
            b' ' | b'-' | b'.' | b'/' | b'(' | b')' if separators < 2 => separators += 1,
            _ => break,
        }
    }
    let end = found.last()?.0 + 1;
    if rest.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let national = found.first()?.1 == b'0' || parenthesis;
    let likely = match found.len() {
        8..=15 if lead == 1 => true,
        9..=15 if national => end > found.len() || found.len() >= 10,
        10 => groups(rest.get(..end)?) == [3, 3, 4],
        _ => false,
    };
    likely.then_some(lead + end)
}

/// How many digits stand together.
fn groups(bytes: &[u8]) -> Vec<usize> {
    let groups = bytes.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len);
    groups.filter(|length| *length > 0).collect()
}
