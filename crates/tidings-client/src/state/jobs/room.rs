//! Limits the reports that wait for the server's answers.

use super::report::Report;

/// Counts the waiting reports and their bytes.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    max_bytes: usize,
    count: usize,
    bytes: usize,
    /// The number of counted reports that may be dropped while they wait.
    droppable: usize,
}

impl Room {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self {
            max,
            max_bytes,
            count: 0,
            bytes: 0,
            droppable: 0,
        }
    }

    /// Returns true if there is room. The first report fits at any size; otherwise it
    /// could never be sent.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < self.max && self.bytes + bytes <= self.max_bytes)
    }

    /// Returns true if a report may be dropped for another one.
    pub(super) fn has_droppable(&self) -> bool {
        self.droppable > 0
    }

    /// Counts a report, unless its room was reserved.
    pub(super) fn take(&mut self, report: &Report) {
        if let Some(bytes) = report.bytes {
            self.count += 1;
            self.bytes += bytes;
            self.droppable += usize::from(report.is_droppable());
        }
    }

    /// Counts bytes that a counted report takes in addition. The report gives them back
    /// together with its other bytes.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Gives back the room of a counted report.
    pub(super) fn give(&mut self, report: &Report) {
        if let Some(bytes) = report.bytes {
            self.count -= 1;
            self.bytes -= bytes;
            self.droppable -= usize::from(report.is_droppable());
        }
    }
}
