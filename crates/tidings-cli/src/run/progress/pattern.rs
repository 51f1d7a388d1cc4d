//! A user's own rule for progress: a regular expression.

use std::str::FromStr;

use regex_lite::{Captures, Regex};

use super::Reading;

/// One group is a percentage, two are so much of so much. A group with the name
/// `message` is what the command is at.
#[derive(Debug, Clone)]
pub(in crate::run) struct Pattern {
    regex: Regex,
    message: Option<usize>,
}

/// A text is no such rule.
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
    /// Reads a line; none if the rule does not apply.
    pub(super) fn read(&self, text: &str) -> Option<Reading> {
        let captures = self.regex.captures(text)?;
        let mut numbers = (1..captures.len()).filter(|at| Some(*at) != self.message);
        let first = number(&captures, numbers.next()?)?;
        let reading = match numbers.next() {
            None => Reading::percent(first)?,
            Some(second) => {
                let total = number(&captures, second)?;
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

fn number(captures: &Captures<'_>, at: usize) -> Option<f64> {
    let text = captures.get(at)?.as_str();
    text.replace([',', '_'], "").parse().ok()
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
