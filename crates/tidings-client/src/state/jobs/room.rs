//! How much may wait for the server's answers.

/// Counts what waits, and how many bytes that has.
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

    /// Whether there is room. The first fits whatever its size, or it never would.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < self.max && self.bytes + bytes <= self.max_bytes)
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    /// Counts bytes that something takes beside those before. When it becomes
    /// smaller, what it took is given back with it.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Gives back what something took; none if room was kept for it.
    pub(super) fn give(&mut self, bytes: Option<usize>) {
        if let Some(bytes) = bytes {
            self.count -= 1;
            self.bytes -= bytes;
        }
    }
}
