//! Reads the progress of a command from its output.

mod pattern;
mod tools;

pub(super) use pattern::Pattern;

/// The most inner loops that are remembered.
const MAX_INNER: usize = 100;

/// The progress of a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    /// The progress in per cent.
    pub(super) percent: f64,
    /// The current number and the total, if the tool counts.
    pub(super) count: Option<(u32, u32)>,
    /// The part of the work, if the tool has several parts.
    pub(super) stage: Option<String>,
    /// The present item of the work, if the tool names it.
    pub(super) message: Option<String>,
    kind: Kind,
}

/// The scope of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The whole work.
    Whole,
    /// A loop, perhaps inside another one. The topmost loop is the outermost.
    Loop,
    /// One bar. Several bars at a time do not reveal the whole progress.
    Bar,
}

/// The name of a loop and its total, which distinguish it from other loops.
type Loop = (Option<String>, Option<u32>);

impl Reading {
    fn percent(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Self {
            percent,
            count: None,
            stage: None,
            message: None,
            kind: Kind::Bar,
        })
    }

    fn count(current: u32, total: u32, message: &str) -> Option<Self> {
        if total == 0 || current > total {
            return None;
        }
        let percent = f64::from(current) / f64::from(total) * 100.0;
        Some(Self {
            count: Some((current, total)),
            ..Self::percent(percent)?.about(message)
        })
    }

    fn about(mut self, message: &str) -> Self {
        let message = message.trim();
        self.message = (!message.is_empty()).then(|| message.to_owned());
        self
    }

    fn as_loop(&self) -> Option<Loop> {
        let total = self.count.map(|(_, total)| total);
        (self.kind == Kind::Loop).then(|| (self.message.clone(), total))
    }

    fn stage(mut self, stage: &str) -> Self {
        let stage = stage.trim();
        self.stage = (!stage.is_empty()).then(|| stage.to_owned());
        self
    }

    fn whole(mut self) -> Self {
        self.kind = Kind::Whole;
        self
    }
}

/// Reads the output of a command, and remembers values for later lines.
#[derive(Debug, Default)]
pub(super) struct Recogniser {
    /// The user's own rule. It replaces all other rules.
    pattern: Option<Pattern>,
    tools: tools::Memory,
    /// True if the command reports its progress to the terminal program.
    told_by_command: bool,
    /// The loops that ran inside another one.
    inner: Vec<Loop>,
    latest: Option<Reading>,
}

impl Recogniser {
    pub(super) fn new(pattern: Option<Pattern>) -> Self {
        Self {
            pattern,
            ..Self::default()
        }
    }

    /// Reads a line that is final.
    pub(super) fn line(&mut self, text: &str) {
        let reading = match &self.pattern {
            Some(pattern) => pattern.read(text),
            None => self.tools.line(text),
        };
        self.take(reading);
    }

    /// Reads rows that the command redraws, the topmost first.
    pub(super) fn state(&mut self, rows: &[String]) {
        let reading = match &self.pattern {
            Some(pattern) => rows.iter().find_map(|row| pattern.read(row)),
            None => {
                let readings = rows.iter().filter_map(|row| self.tools.row(row));
                let readings: Vec<_> = readings.collect();
                self.remember(&readings);
                outermost(readings)
            }
        };
        self.take(reading);
    }

    /// Remembers the loops that are inside another one. When such a loop appears alone, as the last
    /// row of a frame does at the end, its progress is not that of the command.
    fn remember(&mut self, readings: &[Reading]) {
        let loops: Vec<_> = readings.iter().filter_map(Reading::as_loop).collect();
        let [outer, inner @ ..] = &loops[..] else {
            return;
        };
        if !inner.is_empty() {
            self.inner.retain(|known| known != outer);
        }
        for inner in inner {
            if inner != outer && !self.inner.contains(inner) && self.inner.len() < MAX_INNER {
                self.inner.push(inner.clone());
            }
        }
    }

    fn take(&mut self, reading: Option<Reading>) {
        let Some(reading) = reading else { return };
        let is_inner = reading.as_loop().is_some_and(|it| self.inner.contains(&it));
        if !self.told_by_command && !is_inner {
            self.latest = Some(reading);
        }
    }

    /// Reads a command for the terminal program. `9;4;STATE;PERCENT` reports progress.
    pub(super) fn command(&mut self, command: &str) {
        let mut parts = command.split(';');
        if self.pattern.is_some() || parts.next() != Some("9") || parts.next() != Some("4") {
            return;
        }
        let state = parts.next().unwrap_or_default();
        let percent = parts.next().unwrap_or_default().parse();
        // State 0 removes the bar, and state 3 is a bar without an end.
        if matches!(state, "1" | "2" | "4")
            && let Ok(percent) = percent
            && let Some(reading) = Reading::percent(percent)
        {
            self.told_by_command = true;
            self.latest = Some(reading.whole());
        }
    }

    /// Takes the latest reading, if there is a new one since the last call.
    pub(super) fn latest(&mut self) -> Option<Reading> {
        self.latest.take()
    }
}

/// Returns the reading about the whole work from several simultaneous readings, if
/// there is one.
fn outermost(mut readings: Vec<Reading>) -> Option<Reading> {
    if let Some(at) = readings
        .iter()
        .position(|reading| reading.kind == Kind::Whole)
    {
        return Some(readings.swap_remove(at));
    }
    let loops = readings.iter().all(|reading| reading.kind == Kind::Loop);
    if readings.len() == 1 || (loops && !readings.is_empty()) {
        return Some(readings.swap_remove(0));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&str]) -> Option<f64> {
        let mut recogniser = Recogniser::default();
        let rows: Vec<_> = rows.iter().map(ToString::to_string).collect();
        recogniser.state(&rows);
        recogniser.latest().map(|reading| reading.percent.round())
    }

    #[test]
    fn of_several_bars_the_outermost_counts_or_none() {
        let outer = " 40%|████      | 2/5 [00:02<00:03,  1.00s/it]";
        let inner = "epoch:  10%|█         | 1/10 [00:00<00:01,  9.00it/s]";
        assert_eq!(rows(&[outer, inner]), Some(40.0));
        assert_eq!(rows(&["a.iso  40%", "b.iso  10%"]), None);
        assert_eq!(rows(&["a.iso  40%", "something else"]), Some(40.0));
        let docker = "[+] Building 12.3s (3/12)";
        assert_eq!(rows(&[docker, " => a 40%", " => b 10%"]), Some(25.0));
    }

    #[test]
    fn an_inner_loop_that_is_left_alone_is_not_the_whole() {
        let outer = "files:  67%|██████▋   | 2/3 [00:02<00:01,  1.00s/it]";
        let inner = "lines:  10%|█         | 1/10 [00:00<00:01,  9.00it/s]";
        let later = "check:  50%|█████     | 1/2 [00:00<00:01,  9.00it/s]";
        let mut recogniser = Recogniser::default();
        recogniser.state(&[outer.to_owned(), inner.to_owned()]);
        recogniser.state(&[inner.to_owned()]);
        recogniser.line(outer);
        recogniser.line(inner);
        let percent =
            |recogniser: &mut Recogniser| recogniser.latest().map(|it| it.percent.round());
        assert_eq!(percent(&mut recogniser), Some(67.0));
        // Another loop follows, and then the inner one runs alone with another total.
        recogniser.state(&[later.to_owned()]);
        assert_eq!(percent(&mut recogniser), Some(50.0));
        recogniser.state(&[inner.replace("1/10", "1/4")]);
        assert!(percent(&mut recogniser).is_some());
    }

    #[test]
    fn what_a_command_tells_the_terminal_counts_more_than_its_lines() {
        let mut recogniser = Recogniser::default();
        recogniser.command("0;title");
        recogniser.command("9;9;path");
        recogniser.command("9;4;3;0");
        assert_eq!(recogniser.latest(), None);
        recogniser.line("[12/48] Building CXX object src/a.o");
        recogniser.command("9;4;1;40");
        recogniser.line("[13/48] Building CXX object src/b.o");
        assert_eq!(
            recogniser.latest().map(|reading| reading.percent),
            Some(40.0)
        );
        recogniser.command("9;4;0;");
        assert_eq!(recogniser.latest(), None);
    }

    #[test]
    fn a_rule_of_the_users_own_is_the_only_one() {
        let pattern: Pattern = r"step (\d+) of (\d+)".parse().unwrap();
        let mut recogniser = Recogniser::new(Some(pattern));
        recogniser.line("[12/48] Building");
        recogniser.command("9;4;1;40");
        assert_eq!(recogniser.latest(), None);
        recogniser.line("now step 3 of 4");
        assert_eq!(
            recogniser.latest().and_then(|reading| reading.count),
            Some((3, 4))
        );
    }
}
