//! Limits the reports that wait for the server's answers.

/// Counts the waiting reports and their bytes.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    max_bytes: usize,
    count: usize,
    bytes: usize,
}

impl Room {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self {
            max,
            max_bytes,
            count: 0,
            bytes: 0,
        }
    }

    /// Returns true if there is room. The first report fits at any size; otherwise it
    /// could never be sent.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < self.max && self.bytes + bytes <= self.max_bytes)
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    /// Counts bytes that a counted report takes in addition. The report gives them back
    /// together with its other bytes.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Gives back a report's bytes. None if its room was reserved.
    pub(super) fn give(&mut self, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.count -= 1;
            self.bytes -= bytes;
        }
    }
}
