//! Places for HTTP connections: which connections have one, and which must make room.
//!
//! This is a state machine without I/O. When all places are taken, a new connection may replace an
//! idle one. The replaced connection belongs to the address that holds the most places, and the new
//! one to another address. Some places are reserved for health probes: if no connection can make
//! room, a new one may still check the server's health.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// The id of a place. It is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(u64);

/// The unit by which places are counted. An IPv6 host has at least a /64 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl Network {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self(IpAddr::from([a, b, c, d, 0, 0, 0, 0]))
            }
            ip => Self(ip),
        }
    }
}

/// The decision about a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The connection has a place.
    Admitted(SlotId),
    /// The connection has a place, and the second connection must end for it.
    InsteadOf(SlotId, SlotId),
    /// The connection has one of the places for health probes.
    ProbesOnly(SlotId),
    /// The address has as many connections as one may have, and none of them is idle.
    AddressFull,
    /// No place is left.
    Full,
}

#[derive(Debug)]
struct Slot {
    network: Network,
    /// The number of requests that are being answered.
    requests: usize,
    /// The time at which the connection became idle, on the state machine's own clock.
    idle_since: u64,
    /// True if the connection is counted elsewhere, because it carries a stream of events.
    elsewhere: bool,
    probes_only: bool,
}

#[derive(Debug, Default)]
struct Holder {
    count: usize,
    /// The idle connections, the one that has been idle longest first.
    idle: BTreeSet<(u64, SlotId)>,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Slots {
    max: usize,
    max_per_address: usize,
    max_probes: usize,
    slots: HashMap<SlotId, Slot>,
    holders: HashMap<Network, Holder>,
    taken: usize,
    probes: usize,
    clock: u64,
}

impl Slots {
    pub(crate) fn new(max: usize, max_per_address: usize, max_probes: usize) -> Self {
        Self {
            max,
            max_per_address,
            max_probes,
            slots: HashMap::new(),
            holders: HashMap::new(),
            taken: 0,
            probes: 0,
            clock: 0,
        }
    }

    /// Decides about a new connection. A trusted proxy stands for many clients, so its address has
    /// no limit of its own.
    pub(crate) fn enter(&mut self, ip: IpAddr, is_proxy: bool) -> Entry {
        let network = Network::of(ip);
        let own = self.holders.get(&network).map_or(0, |holder| holder.count);
        if own >= self.max_per_address && !is_proxy {
            return match self.take_idle(network) {
                Some(victim) => Entry::InsteadOf(self.insert(network, false), victim),
                None => Entry::AddressFull,
            };
        }
        if self.taken < self.max {
            return Entry::Admitted(self.insert(network, false));
        }
        let most = self
            .holders
            .iter()
            .filter(|(_, holder)| !holder.idle.is_empty());
        let most = most.max_by_key(|(_, holder)| holder.count);
        let most = most.map(|(network, holder)| (*network, holder.count));
        // An address that already holds more places than the others cannot displace their
        // connections.
        if let Some((from, count)) = most
            && (count > own || from == network)
            && let Some(victim) = self.take_idle(from)
        {
            return Entry::InsteadOf(self.insert(network, false), victim);
        }
        if self.probes < self.max_probes {
            return Entry::ProbesOnly(self.insert(network, true));
        }
        Entry::Full
    }

    fn insert(&mut self, network: Network, probes_only: bool) -> SlotId {
        self.clock += 1;
        // The clock advances on every call, so its time is also a unique id.
        let id = SlotId(self.clock);
        let slot = Slot {
            network,
            requests: 0,
            idle_since: self.clock,
            elsewhere: false,
            probes_only,
        };
        self.slots.insert(id, slot);
        if probes_only {
            self.probes += 1;
        } else {
            self.count(id);
            self.set_idle(id, true);
        }
        id
    }

    /// Takes the place of the connection that has been idle longest.
    fn take_idle(&mut self, network: Network) -> Option<SlotId> {
        let (_, victim) = *self.holders.get(&network)?.idle.first()?;
        self.leave(victim);
        Some(victim)
    }

    fn count(&mut self, id: SlotId) {
        let Some(network) = self.slots.get(&id).map(|slot| slot.network) else {
            return;
        };
        self.holders.entry(network).or_default().count += 1;
        self.taken += 1;
    }

    fn uncount(&mut self, id: SlotId) {
        let Some(network) = self.slots.get(&id).map(|slot| slot.network) else {
            return;
        };
        self.taken -= 1;
        if let Some(holder) = self.holders.get_mut(&network) {
            holder.count -= 1;
            if holder.count == 0 {
                self.holders.remove(&network);
            }
        }
    }

    fn set_idle(&mut self, id: SlotId, idle: bool) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        let entry = (slot.idle_since, id);
        if let Some(holder) = self.holders.get_mut(&slot.network) {
            if idle {
                holder.idle.insert(entry);
            } else {
                holder.idle.remove(&entry);
            }
        }
    }

    /// Records that a request began. Does nothing if the place was taken away.
    pub(crate) fn begin(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.requests += 1;
        if slot.requests == 1 && !slot.probes_only && !slot.elsewhere {
            self.set_idle(id, false);
        }
    }

    /// Records that a request was answered.
    pub(crate) fn end(&mut self, id: SlotId) {
        self.clock += 1;
        let clock = self.clock;
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let Some(left) = slot.requests.checked_sub(1) else {
            return;
        };
        slot.requests = left;
        if left == 0 {
            slot.idle_since = clock;
            if !slot.probes_only && !slot.elsewhere {
                self.set_idle(id, true);
            }
        }
    }

    /// Returns the place while the connection is a stream of events, which counts among the
    /// WebSockets.
    pub(crate) fn give_back(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if !slot.elsewhere && !slot.probes_only {
            slot.elsewhere = true;
            self.set_idle(id, false);
            self.uncount(id);
        }
    }

    /// Takes the place back. For a moment there may be more connections than allowed.
    pub(crate) fn take_back(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut slot.elsewhere, false) {
            let idle = slot.requests == 0;
            self.count(id);
            if idle {
                self.set_idle(id, true);
            }
        }
    }

    /// Records that a connection ended.
    pub(crate) fn leave(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        if slot.probes_only {
            self.probes -= 1;
        } else if !slot.elsewhere {
            self.set_idle(id, false);
            self.uncount(id);
        }
        self.slots.remove(&id);
    }

    /// Returns the number of taken places.
    #[cfg(test)]
    fn taken(&self) -> usize {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn admitted(entry: Entry) -> SlotId {
        match entry {
            Entry::Admitted(id) | Entry::InsteadOf(id, _) => id,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whoever_holds_most_makes_room_with_what_is_idle_longest() {
        let mut slots = Slots::new(4, 10, 0);
        let first = admitted(slots.enter(ip(1), false));
        let second = admitted(slots.enter(ip(1), false));
        let third = admitted(slots.enter(ip(1), false));
        admitted(slots.enter(ip(2), false));
        slots.begin(first);
        // The first connection is busy. The second has been idle longer than the third.
        assert!(
            matches!(slots.enter(ip(3), false), Entry::InsteadOf(_, victim) if victim == second)
        );
        slots.end(first);
        // Now the third has been idle longest.
        assert!(
            matches!(slots.enter(ip(3), false), Entry::InsteadOf(_, victim) if victim == third)
        );
        assert_eq!(slots.taken(), 4);
    }

    #[test]
    fn nobody_makes_room_for_whoever_holds_more() {
        let mut slots = Slots::new(3, 10, 1);
        let busy: Vec<_> = (0..2)
            .map(|_| admitted(slots.enter(ip(1), false)))
            .collect();
        admitted(slots.enter(ip(2), false));
        for id in busy {
            slots.begin(id);
        }
        assert!(matches!(slots.enter(ip(1), false), Entry::ProbesOnly(_)));
        assert_eq!(slots.enter(ip(1), false), Entry::Full);
    }

    #[test]
    fn an_address_has_so_many_and_a_proxy_stands_for_many() {
        let mut slots = Slots::new(100, 2, 1);
        let one = admitted(slots.enter(ip(1), false));
        let two = admitted(slots.enter(ip(1), false));
        assert!(matches!(slots.enter(ip(1), false), Entry::InsteadOf(_, victim) if victim == one));
        slots.begin(two);
        let three = slots.enter(ip(1), false);
        slots.begin(admitted(three));
        assert_eq!(slots.enter(ip(1), false), Entry::AddressFull);
        assert!(matches!(slots.enter(ip(1), true), Entry::Admitted(_)));
        assert!(matches!(slots.enter(ip(2), false), Entry::Admitted(_)));
    }

    #[test]
    fn a_stream_of_events_holds_no_place() {
        let mut slots = Slots::new(1, 10, 0);
        let stream = admitted(slots.enter(ip(1), false));
        slots.begin(stream);
        assert_eq!(slots.enter(ip(2), false), Entry::Full);
        slots.give_back(stream);
        let other = admitted(slots.enter(ip(2), false));
        slots.leave(other);
        slots.take_back(stream);
        slots.end(stream);
        assert_eq!(slots.taken(), 1);
        slots.leave(stream);
        assert_eq!(slots.taken(), 0);
        assert!(slots.holders.is_empty() && slots.slots.is_empty());
    }

    /// The counts match the places after any sequence of calls.
    #[test]
    fn counts_equal_what_is_there() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut slots = Slots::new(8, 5, 2);
            let mut there: Vec<SlotId> = Vec::new();
            for _ in 0..300 {
                let some = (!there.is_empty()).then(|| rng.usize(..there.len().max(1)));
                match (rng.u8(..8), some) {
                    (0..=2, _) => match slots.enter(ip(rng.u8(..4)), false) {
                        Entry::Admitted(id) | Entry::ProbesOnly(id) => there.push(id),
                        Entry::InsteadOf(id, victim) => {
                            assert!(!slots.slots.contains_key(&victim), "seed {seed}");
                            there.retain(|known| *known != victim);
                            there.push(id);
                        }
                        Entry::AddressFull | Entry::Full => {}
                    },
                    (3, Some(at)) => slots.begin(there[at]),
                    (4, Some(at)) => slots.end(there[at]),
                    (5, Some(at)) => slots.give_back(there[at]),
                    (6, Some(at)) => slots.take_back(there[at]),
                    (7, Some(at)) => slots.leave(there.swap_remove(at)),
                    _ => {}
                }
                let counted = slots
                    .slots
                    .values()
                    .filter(|slot| !slot.elsewhere && !slot.probes_only);
                assert_eq!(slots.taken(), counted.count(), "seed {seed}");
                let held: usize = slots.holders.values().map(|holder| holder.count).sum();
                assert_eq!(slots.taken(), held, "seed {seed}");
                let idle: usize = slots.holders.values().map(|holder| holder.idle.len()).sum();
                let really = slots
                    .slots
                    .values()
                    .filter(|slot| slot.requests == 0 && !slot.elsewhere && !slot.probes_only);
                assert_eq!(idle, really.count(), "seed {seed}");
                assert!(slots.probes <= 2, "seed {seed}");
            }
        }
    }
}
