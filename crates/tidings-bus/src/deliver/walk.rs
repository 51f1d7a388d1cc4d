//! The order in which workers visit the watchers of a topic.
//!
//! The slots of a topic's watchers form parts of [`PART`] neighbours. A worker claims a part,
//! visits some of its slots, and releases the part. Nobody else has the part in the meantime, so
//! each watcher gets its events from one worker at a time, in order. A topic with one part is
//! narrow, and one worker has it. All idle workers help with a topic that is wide.
//!
//! A publish makes every part due again. Each part has its own position, and continues there. A
//! worker stays with a part until it has been once around it, and then takes the next part in
//! turn. A publish in the middle of a walk therefore keeps no worker in one part.
//!
//! The topic is in the queue at most once, although several workers may be visiting it. A worker
//! that claims a part puts the topic back at once if another part is free.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::deliver::signal::{Flag, Signal};

/// The number of slots of a part. A worker that has nothing left to claim waits for others that
/// are in the middle of a part, so smaller parts divide a walk better. Each part adds a lap of
/// its own to the work of a walk, so larger parts cost less.
pub(crate) const PART: usize = 128;

/// A part of the slots, in five bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Part {
    /// The slot to visit next, relative to the first slot of the part.
    position: u8,
    /// The number of slots to visit.
    left: u8,
    /// The number of slots until a worker has been once around the part.
    lap: u8,
    /// The number of slots that no worker has claimed since the publish that is followed.
    unseen: u8,
    /// True while a worker has the part.
    held: bool,
}

impl Part {
    /// Returns true if a worker may claim the part.
    fn is_free(&self) -> bool {
        self.left > 0 && !self.held
    }
}

/// The parts after the first one.
#[derive(Debug, Default)]
struct Wide {
    parts: Vec<Part>,
    /// The part to claim next, if none is open.
    next: usize,
    /// Free parts whose lap has begun, in the order of their release.
    open: VecDeque<usize>,
    /// The number of free parts.
    free: usize,
    /// The number of held parts.
    held: usize,
    /// When the publish that is followed began.
    since: Option<Instant>,
}

/// How far the workers have come with the watchers of a topic.
#[derive(Debug, Default)]
pub(crate) struct Walk<const SIZE: usize = PART> {
    /// One past the highest slot in use since the topic last had no watcher.
    slots: u32,
    /// The number of slots that were not visited since the publish that is followed.
    unseen: u32,
    first: Part,
    /// True if a worker has put the topic into the queue since one last took it.
    queued: bool,
    wide: Option<Box<Wide>>,
}

/// Part of a walk, until its worker releases it.
#[derive(Debug)]
#[must_use = "a part that is not released is never visited again"]
pub(crate) struct Claim {
    part: usize,
    /// The number of slots that nobody had visited since the publish that is followed.
    seen: u32,
    /// True if a publish has made all parts due.
    pub(crate) begun: bool,
    /// If true, the worker puts the topic into the queue before it visits the slots.
    pub(crate) queue: bool,
}

/// What a worker does after its part, or without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The worker puts the topic into the queue again.
    Queue,
    /// Another worker continues.
    Others,
    /// All slots were visited. The worker gives the topic back by [`Signal::leave`].
    Over,
}

impl<const SIZE: usize> Walk<SIZE> {
    /// Adds slots up to the given number. A part whose walk is in progress may visit a new slot
    /// before its first slots. It must therefore visit as many slots more, or its walk would end
    /// too early.
    pub(crate) fn grow(&mut self, slots: usize) {
        for slot in self.slots as usize..slots {
            let number = slot / SIZE;
            if number > 0 && slot % SIZE == 0 {
                self.widen();
            }
            self.slots += 1;
            let part = self.part(number);
            for count in [&mut part.left, &mut part.lap] {
                *count += u8::from(*count > 0);
            }
            let followed = part.unseen > 0;
            part.unseen += u8::from(followed);
            self.unseen += u32::from(followed);
        }
    }

    fn widen(&mut self) {
        let first = self.first;
        let wide = self.wide.get_or_insert_with(|| {
            Box::new(Wide {
                free: usize::from(first.is_free()),
                held: usize::from(first.held),
                ..Wide::default()
            })
        });
        wide.parts.push(Part::default());
    }

    /// Returns true if a worker has a part.
    fn is_held(&self) -> bool {
        let wide = self.wide.as_ref();
        wide.map_or(self.first.held, |wide| wide.held > 0)
    }

    /// Returns true if a worker can claim a part.
    fn has_free(&self) -> bool {
        let wide = self.wide.as_ref();
        wide.map_or(self.first.is_free(), |wide| wide.free > 0)
    }

    /// Forgets the slots of a topic without watchers, unless a worker is visiting it.
    pub(crate) fn clear(&mut self) {
        if !self.is_held() {
            *self = Self {
                queued: self.queued,
                ..Self::default()
            };
        }
    }

    fn parts(&self) -> usize {
        1 + self.wide.as_ref().map_or(0, |wide| wide.parts.len())
    }

    fn part(&mut self, number: usize) -> &mut Part {
        match (number.checked_sub(1), &mut self.wide) {
            (Some(at), Some(wide)) => &mut wide.parts[at],
            _ => &mut self.first,
        }
    }

    /// Returns the number of slots of a part.
    fn len(&self, number: usize) -> u8 {
        let len = (self.slots as usize - number * SIZE).min(SIZE);
        u8::try_from(len).expect("a part has fewer than 256 slots")
    }

    /// Makes every part due after a publish.
    fn begin(&mut self) {
        let ended = !self.has_free() && !self.is_held();
        let follow = self.unseen == 0;
        let mut free = 0;
        for number in 0..self.parts() {
            let len = self.len(number);
            let part = self.part(number);
            if ended {
                // Nobody is always the last.
                part.position = part.position.wrapping_add(1);
                part.lap = 0;
            }
            part.left = len;
            if follow {
                part.unseen = len;
            }
            free += usize::from(part.is_free());
        }
        if follow {
            self.unseen = self.slots;
        }
        if let Some(wide) = &mut self.wide {
            wide.free = free;
        }
    }

    /// Chooses a free part.
    fn choose(&mut self) -> Option<usize> {
        let parts = self.parts();
        let Some(wide) = &mut self.wide else {
            return self.first.is_free().then_some(0);
        };
        if let Some(open) = wide.open.pop_front() {
            return Some(open);
        }
        if wide.free == 0 {
            return None;
        }
        loop {
            let wide = self.wide.as_mut()?;
            let number = wide.next % parts;
            wide.next = number + 1;
            if self.part(number).is_free() {
                self.part(number).lap = self.len(number);
                return Some(number);
            }
        }
    }

    /// Claims slots for a worker that has taken the topic from the queue. `visit` returns whether
    /// a slot has a watcher. The claim has at most `limit` watchers.
    ///
    /// # Errors
    /// If no part is free, returns what the worker does next.
    pub(crate) fn claim<F: Flag>(
        &mut self,
        signal: &Signal<F>,
        limit: usize,
        mut visit: impl FnMut(usize) -> bool,
    ) -> Result<Claim, Next> {
        self.queued = false;
        let begun = signal.take();
        if begun {
            // Watchers that were visited before this publish must be visited again.
            self.begin();
        }
        let Some(number) = self.choose() else {
            return Err(self.next(signal));
        };
        let len = self.len(number);
        let narrow = self.wide.is_none();
        let part = self.part(number);
        let before = part.unseen;
        let mut found = 0;
        while part.left > 0 && found < limit && (narrow || part.lap > 0) {
            if part.position >= len {
                part.position = 0;
            }
            found += usize::from(visit(number * SIZE + usize::from(part.position)));
            part.position += 1;
            part.left -= 1;
            part.lap = part.lap.saturating_sub(1);
            part.unseen = part.unseen.saturating_sub(1);
        }
        part.held = true;
        let seen = u32::from(before - part.unseen);
        if let Some(wide) = &mut self.wide {
            wide.free -= 1;
            wide.held += 1;
        }
        self.queued = self.has_free();
        Ok(Claim {
            part: number,
            seen,
            begun,
            queue: self.queued,
        })
    }

    /// Ends a claim. Returns what the worker does next, and whether all slots were visited since
    /// the publish that is followed.
    pub(crate) fn release<F: Flag>(
        &mut self,
        Claim {
            part: number, seen, ..
        }: Claim,
        signal: &Signal<F>,
    ) -> (Next, bool) {
        let part = self.part(number);
        part.held = false;
        let (free, open) = (part.is_free(), part.lap > 0);
        if let Some(wide) = &mut self.wide {
            wide.held -= 1;
            wide.free += usize::from(free);
            if free && open {
                wide.open.push_back(number);
            }
        }
        self.unseen -= seen;
        let all_seen = seen > 0 && self.unseen == 0;
        (self.next(signal), all_seen)
    }

    /// Returns what a worker does that has no part.
    fn next<F: Flag>(&mut self, signal: &Signal<F>) -> Next {
        if self.queued {
            return Next::Others;
        }
        if self.has_free() || signal.has_moved() {
            self.queued = true;
            return Next::Queue;
        }
        match self.is_held() {
            true => Next::Others,
            false => Next::Over,
        }
    }

    /// Returns when the publish that is followed began. A ticket carries this time for a narrow
    /// topic, because only one worker has the topic.
    pub(crate) fn since<'a>(
        &'a mut self,
        ticket: &'a mut Option<Instant>,
    ) -> &'a mut Option<Instant> {
        match &mut self.wide {
            Some(wide) => {
                wide.since = wide.since.or(ticket.take());
                &mut wide.since
            }
            None => ticket,
        }
    }
}

#[cfg(test)]
mod tests;
