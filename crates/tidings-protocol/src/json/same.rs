//! Compares JSON by value.

use serde_json::{Number, Value};

/// Returns whether two values are equal. Numbers are equal if they are the same number: `1` and
/// `1.0` are. The order of an object's keys has no meaning.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    match (whole(a), whole(b)) {
        (None, None) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

/// Returns the number if it is whole and below 2^127. A larger float never equals an integer of
/// JSON, which has at most 64 bits.
fn whole(number: &Number) -> Option<i128> {
    if let Some(whole) = number.as_i128() {
        return Some(whole);
    }
    let float = number.as_f64()?;
    let limit = 2f64.powi(127);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the float is whole, and i128 has room for it"
    )]
    (float.fract() == 0.0 && float.abs() < limit).then_some(float as i128)
}

#[cfg(test)]
mod tests {
    use crate::Json;

    fn equal(a: &str, b: &str) -> bool {
        let [a, b] = [a, b].map(|text| Json::parse(text).unwrap());
        assert_eq!(a.is_same_value(&b), b.is_same_value(&a));
        a.is_same_value(&b)
    }

    #[test]
    fn values_are_equal_however_they_are_spelt() {
        for (a, b) in [
            ("1", "1.0"),
            ("-0.0", "0"),
            ("1e2", "100"),
            ("0.10", "0.1"),
            ("18446744073709551615", "18446744073709551615"),
            ("9007199254740992", "9007199254740992.0"),
            ("1e300", "1000e297"),
            (r#"{"a":1,"b":[2]}"#, r#"{"b": [2.0], "a": 1}"#),
            (r#""\u00e4""#, r#""ä""#),
        ] {
            assert!(equal(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("1", "1.5"),
            ("1", "\"1\""),
            ("1", "true"),
            ("0", "null"),
            ("9007199254740993", "9007199254740992.0"),
            ("18446744073709551615", "18446744073709551616.0"),
            ("1e300", "1e301"),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
        ] {
            assert!(!equal(a, b), "{a} {b}");
        }
    }
}
