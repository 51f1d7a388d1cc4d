//! Accounts: the owners that memory is charged to.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use super::{Book, Charge, Group, Kind, OverLimit, Tally, add, zeroed};

/// The id of an account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Arc<str>);

impl AccountId {
    /// Returns the id of an authenticated subject's account.
    pub fn subject(subject: &str) -> Self {
        Self(format!("subject:{subject}").into())
    }

    /// Returns the id of the account of all clients that connect from an address. An IPv6 host
    /// owns at least a /64 network, so all of that network is one account.
    pub fn address(address: IpAddr) -> Self {
        let text = match address.to_canonical() {
            IpAddr::V4(address) => format!("address:{address}"),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("address:{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        };
        Self(text.into())
    }

    /// Returns the id of the bus's own account. It pays for the program that embeds the bus.
    pub fn own() -> Self {
        Self("bus".into())
    }

    /// Returns the text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_own(&self) -> bool {
        &*self.0 == "bus"
    }
}

impl std::fmt::Display for AccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) type Counts = [AtomicI64; Kind::ALL.len()];

#[derive(Debug)]
pub(super) struct Inner {
    id: AccountId,
    /// Signed, because another thread may see a release before its charge.
    held: Counts,
    book: Arc<Book>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut accounts = self.book.lock();
        // Another thread may have created the account again in the meantime.
        if accounts
            .get(&self.id)
            .is_some_and(|known| known.strong_count() == 0)
        {
            accounts.remove(&self.id);
        }
    }
}

/// An owner of charged memory. Clones of the handle are one account.
#[derive(Debug, Clone)]
pub struct Account(Arc<Inner>);

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Account {}

impl Account {
    pub(super) fn new(id: AccountId, book: &Arc<Book>) -> Self {
        Self(Arc::new(Inner {
            id,
            held: zeroed(),
            book: Arc::clone(book),
        }))
    }

    pub(super) fn from_inner(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    /// Returns the account's id.
    pub fn id(&self) -> &AccountId {
        &self.0.id
    }

    /// Charges `bytes`. Call it before the memory is taken.
    ///
    /// # Errors
    /// Fails if the account or its budget would exceed its limit. Nothing is charged then.
    pub fn charge(&self, kind: Kind, bytes: u64) -> Result<Charge, OverLimit> {
        self.try_add(kind, bytes)?;
        Ok(Charge::of(self.clone(), kind, bytes))
    }

    /// Charges `bytes`, even beyond the limits.
    pub fn take(&self, kind: Kind, bytes: u64) -> Charge {
        self.add(kind, signed(bytes));
        Charge::of(self.clone(), kind, bytes)
    }

    pub(crate) fn tally(&self) -> Tally {
        Tally::of(self.clone())
    }

    /// Returns the bytes that the account holds of one kind.
    pub fn held(&self, kind: Kind) -> u64 {
        positive(&self.0.held[kind.index()])
    }

    /// Returns the bytes that the account holds in one budget.
    pub fn held_in(&self, group: Group) -> u64 {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.group() == group);
        kinds.map(|kind| self.held(kind)).sum()
    }

    /// Returns whether the account, or all accounts together, exceed their limit in one budget.
    /// [`take`](Self::take) can cause this.
    pub fn is_over(&self, group: Group) -> bool {
        let book = &self.0.book;
        let own = group == Group::Clients
            && !self.0.id.is_own()
            && self.held_in(group) > book.limits.account;
        own || book.held(group) > book.limits.of(group)
    }

    pub(super) fn add(&self, kind: Kind, delta: i64) {
        add(&self.0.held[kind.index()], delta);
        add(&self.0.book.groups[kind.group().index()], delta);
    }

    /// Adds first and then checks, so that two callers cannot both take the last place.
    pub(super) fn try_add(&self, kind: Kind, bytes: u64) -> Result<(), OverLimit> {
        self.add(kind, signed(bytes));
        let group = kind.group();
        let book = &self.0.book;
        let over = if group == Group::Clients
            && !self.0.id.is_own()
            && self.held_in(group) > book.limits.account
        {
            Some(OverLimit::Account {
                account: self.0.id.clone(),
                kind,
                limit: book.limits.account,
            })
        } else if book.held(group) > book.limits.of(group) {
            Some(OverLimit::Total {
                kind,
                limit: book.limits.of(group),
            })
        } else {
            None
        };
        match over {
            Some(over) => {
                let total = matches!(over, OverLimit::Total { .. });
                book.refused[usize::from(total)].fetch_add(1, Ordering::Relaxed);
                self.add(kind, -signed(bytes));
                Err(over)
            }
            None => Ok(()),
        }
    }
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

pub(super) fn positive(counter: &AtomicI64) -> u64 {
    u64::try_from(counter.load(Ordering::Relaxed)).unwrap_or(0)
}
