//! A user's own rule for progress, as a regular expression.

use std::str::FromStr;

use regex_lite::{Captures, Regex};

use super::Reading;

/// The rule. One group is a percentage; two groups are the current number and the
/// total. A group with the name `message` is the present item of the work.
#[derive(Debug, Clone)]
pub(in crate::run) struct Pattern {
    regex: Regex,
    message: Option<usize>,
}

/// Returned when a text is not a valid rule.
#[derive(Debug, Clone, thiserror::Error)]
pub(in crate::run) enum InvalidPattern {
    #[error("{0}")]
    Syntax(#[from] regex_lite::Error),
    #[error(
        "expected one group for a percentage, as in `(\\d+)% done`, or two for so much of so much, \
         as in `step (\\d+) of (\\d+)`; found {found}"
    )]
    Groups { found: usize },
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let regex = Regex::new(text)?;
        let message = regex
            .capture_names()
            .position(|name| name == Some("message"));
        let found = regex.captures_len() - 1 - usize::from(message.is_some());
        if !(1..=2).contains(&found) {
            return Err(InvalidPattern::Groups { found });
        }
        Ok(Self { regex, message })
    }
}

impl Pattern {
    /// Reads a line. Returns `None` if the rule does not match.
    pub(super) fn read(&self, text: &str) -> Option<Reading> {
        let captures = self.regex.captures(text)?;
        let mut numbers = (1..captures.len()).filter(|at| Some(*at) != self.message);
        let (first, second) = (numbers.next()?, numbers.next());
        let reading = match second {
            None => Reading::percent(number(&captures, first, 100.0)?)?,
            Some(second) => {
                let first = number(&captures, first, f64::INFINITY)?;
                let total = number(&captures, second, f64::INFINITY)?;
                let whole = |number: f64| {
                    let text = number.to_string();
                    text.parse::<u32>().ok()
                };
                match (whole(first), whole(total)) {
                    (Some(current), Some(total)) => Reading::count(current, total, "")?,
                    _ if total > 0.0 => Reading::percent(first / total * 100.0)?,
                    _ => return None,
                }
            }
        };
        let message = self.message.and_then(|at| captures.get(at));
        let message = message.map(|message| message.as_str());
        Some(reading.whole().about(message.unwrap_or_default()))
    }
}

/// Reads a number in the notation of any country: `1,234.5` and `1.234,5`. In a number
/// such as `1,234`, the comma separates thousands, unless the number is then larger than
/// `most`.
fn number(captures: &Captures<'_>, at: usize, most: f64) -> Option<f64> {
    let text = captures.get(at)?.as_str();
    let text = text.replace(['_', ' ', '\'', '\u{a0}', '\u{202f}'], "");
    let with = |decimal: char, thousands: &str| -> Option<f64> {
        let text = text.replace(thousands, "").replace(decimal, ".");
        text.parse().ok()
    };
    let (commas, points) = (text.matches(',').count(), text.matches('.').count());
    let is_decimal_comma = match (commas, points) {
        (0, _) => points > 1,
        (1, 0) => {
            let may_be_thousands = text.len() - text.find(',')? == 4 && !text.starts_with("0,");
            !may_be_thousands || with('.', ",")? > most
        }
        (_, 0) => false,
        _ => text.rfind(',') > text.rfind('.'),
    };
    if is_decimal_comma {
        with(',', ".")
    } else {
        with('.', ",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_numbers_and_a_message() {
        for (pattern, text, percent, message) in [
            (r"(\d+)% done", "so far 40% done", Some(40.0), None),
            (r"step (\d+) of (\d+)", "step 3 of 4", Some(75.0), None),
            (
                r"(\d+)/(\d+) (?<message>.*)",
                "1/4 linking",
                Some(25.0),
                Some("linking"),
            ),
            (
                r"(?P<message>\w+) at ([\d.]+)",
                "linking at 12.5",
                Some(12.5),
                Some("linking"),
            ),
            (r"([\d,]+) of ([\d,]+)", "1,500 of 6,000", Some(25.0), None),
            (r"([\d.]+)/([\d.]+)MB", "1.5/6.0MB", Some(25.0), None),
            (r"p=([\d.,]+)", "p=2,5", Some(2.5), None),
            (r"p=([\d.,]+)", "p=12,25", Some(12.25), None),
            (r"p=([\d.,]+)", "p=0,125", Some(0.125), None),
            (r"p=([\d.,]+)", "p=12,125", Some(12.125), None),
            (r"p=([\d.,]+)", "p=1,234.5", None, None),
            (r"p=([\d.,]+)", "p=100,0", Some(100.0), None),
            (r"([\d.,]+)/([\d.,]+)", "1,234.5/4,938", Some(25.0), None),
            (r"([\d.,]+)/([\d.,]+)", "1.234,5/4.938,0", Some(25.0), None),
            (
                r"([\d.,]+)/([\d.,]+)",
                "1.250.000/5.000.000",
                Some(25.0),
                None,
            ),
            (
                r"([\d.,]+) of ([\d.,]+)",
                "2,5 of 10,0 GB",
                Some(25.0),
                None,
            ),
            (
                r"([\d ]+) of ([\d ]+)B",
                "1 500 of 6 000B",
                Some(25.0),
                None,
            ),
            (r"(\d+)%", "250%", None, None),
            (r"(\d+)/(\d+)", "1/0", None, None),
            (r"(\d+)%", "nothing", None, None),
        ] {
            let reading = pattern.parse::<Pattern>().unwrap().read(text);
            assert_eq!(
                reading.as_ref().map(|reading| reading.percent),
                percent,
                "{text}"
            );
            let found = reading.and_then(|reading| reading.message);
            assert_eq!(found.as_deref(), message, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_with_what_is_expected() {
        for wrong in ["no group", r"(\d+) (\d+) (\d+)", "(", "(?<message>x)"] {
            assert!(wrong.parse::<Pattern>().is_err(), "{wrong}");
        }
        let error = "no group".parse::<Pattern>().unwrap_err().to_string();
        assert!(
            error.contains("found 0") && error.contains("% done"),
            "{error}"
        );
    }
}
