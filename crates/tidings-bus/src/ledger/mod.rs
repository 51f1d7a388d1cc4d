//! Records how much memory each account makes the server hold.
//!
//! A charge to an [`Account`] stands for memory that a client makes the server hold. The charge
//! begins where the memory is taken, and ends where the memory is released. An account is a
//! subject, an address, or the bus itself. The caller chooses.
//!
//! There are two budgets, see [`Group`]:
//!
//! * *Tasks*: the ledger never refuses a publish. When this budget is full, the bus evicts
//!   tasks. The account that holds the most memory loses tasks first.
//! * *Clients*: [`Account::charge`] refuses a charge beyond the account's limit or the budget.
//!   The error names the limit and a remedy.
//!
//! A charge costs two relaxed atomic additions and takes no lock.
//!
//! ```
//! use tidings_bus::{AccountId, Kind, Ledger, LedgerLimits};
//!
//! let ledger = Ledger::new(LedgerLimits { tasks: 1_000_000, clients: 4_000, account: 1_000 });
//! // Look the account up once, for example when a connection is admitted.
//! let alice = ledger.account(&AccountId::subject("alice"));
//!
//! // Keep the charge beside what it stands for. Dropping it releases the bytes.
//! let cursor = alice.charge(Kind::Cursor, 200)?;
//! assert_eq!(alice.held(Kind::Cursor), 200);
//!
//! // What grows and shrinks, such as unread answers, has one charge that is resized.
//! let mut unread = alice.charge(Kind::Answer, 0)?;
//! unread.try_resize(700)?;
//! assert!(unread.try_resize(900).is_err(), "the account would hold 1,100 bytes");
//! unread.resize(0);
//!
//! drop(cursor);
//! assert_eq!(alice.held(Kind::Cursor), 0);
//! # Ok::<(), tidings_bus::OverLimit>(())
//! ```

mod account;
mod charge;
mod kind;

use std::collections::HashMap;

use crate::lock::{Guard, Lock, place};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

pub use account::{Account, AccountId};
use account::{Counts, Inner};
pub(crate) use charge::Tally;
pub use charge::{Charge, OverLimit};
pub use kind::{Group, Kind};

/// The limits of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Bytes of tasks, over all accounts.
    pub tasks: u64,
    /// Bytes that clients hold in addition to tasks, over all accounts.
    pub clients: u64,
    /// Bytes that one account may hold as a client. The bus's own account has no such limit.
    pub account: u64,
}

impl LedgerLimits {
    /// Returns the bytes that a group may hold over all accounts.
    pub fn of(&self, group: Group) -> u64 {
        match group {
            Group::Tasks => self.tasks,
            Group::Clients => self.clients,
        }
    }
}

/// The memory of one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The account.
    pub account: AccountId,
    /// Bytes that it holds.
    pub bytes: u64,
}

/// All accounts, and the memory that they hold together.
///
/// A `Ledger` is a handle. Clones share one ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    book: Arc<Book>,
    own: Account,
}

/// The state that all accounts share.
#[derive(Debug)]
struct Book {
    limits: LedgerLimits,
    groups: [AtomicI64; Group::COUNT],
    /// The number of charges refused for the limit of an account, and for a budget.
    refused: [AtomicU64; 2],
    accounts: Lock<HashMap<AccountId, Weak<Inner>>, place::Leaf>,
}

impl Book {
    fn lock(&self) -> Guard<'_, HashMap<AccountId, Weak<Inner>>, place::Leaf> {
        self.accounts.lock()
    }

    fn held(&self, group: Group) -> u64 {
        account::positive(&self.groups[group.index()])
    }
}

impl Ledger {
    /// Creates an empty ledger.
    pub fn new(limits: LedgerLimits) -> Self {
        let book = Arc::new(Book {
            limits,
            groups: Default::default(),
            refused: Default::default(),
            accounts: Lock::default(),
        });
        let own = Account::new(AccountId::own(), &book);
        book.lock().insert(AccountId::own(), own.downgrade());
        Self { book, own }
    }

    /// Returns the account with this id. Creates the account if it is new. The ledger forgets it
    /// when its last handle and its last charge are dropped.
    pub fn account(&self, id: &AccountId) -> Account {
        let mut accounts = self.book.lock();
        if let Some(known) = accounts.get(id).and_then(Weak::upgrade) {
            return Account::from_inner(known);
        }
        let account = Account::new(id.clone(), &self.book);
        accounts.insert(id.clone(), account.downgrade());
        account
    }

    /// Returns the bus's own account, which has no limit of its own.
    pub fn own(&self) -> &Account {
        &self.own
    }

    /// Returns the limits.
    pub fn limits(&self) -> &LedgerLimits {
        &self.book.limits
    }

    /// Returns the bytes that all accounts hold in one budget.
    pub fn held(&self, group: Group) -> u64 {
        self.book.held(group)
    }

    /// Returns whether a budget is exceeded.
    pub fn is_over(&self, group: Group) -> bool {
        self.held(group) > self.book.limits.of(group)
    }

    /// Returns the number of refused charges: first those for the limit of an account, then
    /// those for a budget.
    pub fn refused(&self) -> (u64, u64) {
        let [account, total] = &self.book.refused;
        (
            account.load(Ordering::Relaxed),
            total.load(Ordering::Relaxed),
        )
    }

    /// Returns the bytes that all accounts hold of each kind. Reads every account.
    pub fn held_by_kind(&self) -> Vec<(Kind, u64)> {
        let accounts = self.live();
        let sum = |kind| accounts.iter().map(|account| account.held(kind)).sum();
        Kind::ALL.map(|kind| (kind, sum(kind))).to_vec()
    }

    /// Returns the number of accounts with a handle or a charge.
    pub fn accounts(&self) -> usize {
        self.book.lock().len()
    }

    /// Returns the accounts that hold more than an equal share of a budget, the largest first.
    /// Reads every account.
    pub fn over_share(&self, group: Group) -> Vec<Holding> {
        let held = self.live().into_iter().map(|account| Holding {
            bytes: account.held_in(group),
            account: account.id().clone(),
        });
        over_share(held.collect(), self.book.limits.of(group))
    }

    fn live(&self) -> Vec<Account> {
        let accounts = self.book.lock();
        let live = accounts.values().filter_map(Weak::upgrade);
        // Collected first, because dropping the last handle of an account takes the lock.
        live.map(Account::from_inner).collect()
    }
}

/// Selects the accounts that hold more than their share of `limit`. The share is an equal part
/// for each account that holds memory.
fn over_share(mut holdings: Vec<Holding>, limit: u64) -> Vec<Holding> {
    holdings.retain(|holding| holding.bytes > 0);
    let share = limit / (holdings.len() as u64).max(1);
    holdings.retain(|holding| holding.bytes > share);
    holdings.sort_by(|a, b| (b.bytes, &a.account).cmp(&(a.bytes, &b.account)));
    holdings
}

fn zeroed() -> Counts {
    std::array::from_fn(|_| AtomicI64::new(0))
}

fn add(counter: &AtomicI64, delta: i64) {
    counter.fetch_add(delta, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
