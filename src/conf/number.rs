//! Numbers as stock reads them: lenient ones after `sentinel`, strict ones elsewhere (config.md 2.7, 3).

/// The leading integer of `text`, 0 if there is none; garbage after it is ignored. Deviates from C's `atoi`: saturates
/// at the bounds of 32 bits instead of wrapping.
pub fn atoi(text: &[u8]) -> i32 {
    let (negative, digits) = sign(text);
    let size = i64::from(u32::try_from(leading(digits)).unwrap_or(u32::MAX));
    let value = if negative { -size } else { size };
    value.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// The leading unsigned integer of `text`. Deviates from C's `strtoull`: saturates, and reads a negative number as 0
/// rather than as an epoch next to 2^64.
pub fn strtoull(text: &[u8]) -> u64 {
    let (negative, digits) = sign(text);
    if negative { 0 } else { leading(digits) }
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    }
}

fn leading(digits: &[u8]) -> u64 {
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |value: u64, digit| value.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

/// A whole decimal number in its one canonical spelling: no blanks, no plus, no leading zeros.
pub fn strict(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: i64 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

/// A number of bytes with an optional unit: b, k (1000), kb (1024), m, mb, g, gb. No digits at all read as 0.
pub fn memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit: u64 = match text[digits..].to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    Some(leading(text).saturating_mul(unit))
}

/// A number of bytes with the largest unit that divides it.
pub fn print_memory(bytes: u64) -> String {
    let units: [(u64, &str); 3] = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    match units.iter().find(|(size, _)| bytes != 0 && bytes.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

/// A number in base 8; nothing at all reads as 0.
pub fn octal(text: &[u8]) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    i64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// config.md 3: numbers of `sentinel` lines.
    #[test]
    fn lenient_numbers_take_leading_digits_and_saturate() {
        for (text, value) in
            [("2x", 2), ("5000ms", 5000), ("x", 0), ("", 0), ("-1", -1), (" +7", 7), ("99999999999", i32::MAX)]
        {
            assert_eq!(atoi(text.as_bytes()), value, "{text}");
        }
        assert_eq!(strtoull(b"18446744073709551616"), u64::MAX);
        assert_eq!(strtoull(b"-1"), 0);
        assert_eq!(strtoull(b"9000000000z"), 9_000_000_000);
    }

    #[test]
    fn strict_numbers_have_one_spelling() {
        assert_eq!(strict(b"-5"), Some(-5));
        for text in ["+5", " 5", "05", "-0", "", "0x5", "5s", "9223372036854775808"] {
            assert_eq!(strict(text.as_bytes()), None, "{text}");
        }
    }

    /// config.md 58
    #[test]
    fn memory_sizes_have_units_in_any_case() {
        assert_eq!(memory(b"2G"), Some(2_000_000_000));
        assert_eq!(memory(b"1Mb"), Some(1 << 20));
        assert_eq!(memory(b""), Some(0));
        assert_eq!(memory(b"2X"), None);
        assert_eq!(memory(b"-1"), None);
        assert_eq!(print_memory(1 << 20), "1mb");
        assert_eq!(print_memory(1500), "1500");
        assert_eq!(print_memory(0), "0");
    }

    #[test]
    fn octal_numbers() {
        assert_eq!(octal(b"0700"), Some(0o700));
        assert_eq!(octal(b"999"), None);
        assert_eq!(octal(b"+7"), Some(7));
    }
}
