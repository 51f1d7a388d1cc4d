//! Charges: bytes of an account, released when the charge is dropped.

use super::account::signed;
use super::{Account, AccountId, Kind};

/// The reason why nothing was charged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverLimit {
    /// The account has reached the limit of one account. It must release memory first.
    #[error(
        "the account {account} holds its {limit} bytes, and one more {} does not fit: \
         end subscriptions, read answers, or close connections",
        kind.name()
    )]
    Account {
        /// The account.
        account: AccountId,
        /// The kind of memory that did not fit.
        kind: Kind,
        /// Bytes that one account may hold.
        limit: u64,
    },
    /// All accounts together have reached their limit. Try again later.
    #[error(
        "all clients together hold {limit} bytes, and one more {} does not fit: \
         try again later, or raise the server's limit",
        kind.name()
    )]
    Total {
        /// The kind of memory that did not fit.
        kind: Kind,
        /// Bytes that all accounts may hold.
        limit: u64,
    },
}

impl OverLimit {
    /// Returns the kind of memory that did not fit.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Account { kind, .. } | Self::Total { kind, .. } => *kind,
        }
    }
}

/// Bytes that an account holds of one kind. Dropping it releases them.
#[derive(Debug)]
#[must_use = "dropping the charge releases it"]
pub struct Charge {
    account: Account,
    kind: Kind,
    bytes: u64,
}

impl Charge {
    pub(super) fn of(account: Account, kind: Kind, bytes: u64) -> Self {
        Self {
            account,
            kind,
            bytes,
        }
    }

    /// Returns the bytes that are charged.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the account that is charged.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Changes the charge to `bytes`, even beyond the limits.
    pub fn resize(&mut self, bytes: u64) {
        self.account
            .add(self.kind, signed(bytes) - signed(self.bytes));
        self.bytes = bytes;
    }

    /// Changes the charge to `bytes`. A smaller charge always succeeds.
    ///
    /// # Errors
    /// Fails if the account or its budget would exceed its limit. The charge then does not
    /// change.
    pub fn try_resize(&mut self, bytes: u64) -> Result<(), OverLimit> {
        match bytes.checked_sub(self.bytes) {
            Some(more) if more > 0 => self.account.try_add(self.kind, more)?,
            _ => self
                .account
                .add(self.kind, signed(bytes) - signed(self.bytes)),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.add(self.kind, -signed(self.bytes));
    }
}

/// The charges of one object, of several kinds. The lock of the object's owner guards them, so
/// a change costs no more than a change of a [`Charge`].
#[derive(Debug)]
pub(crate) struct Tally {
    account: Account,
    bytes: [u64; Kind::ALL.len()],
}

impl Tally {
    pub(super) fn of(account: Account) -> Self {
        Self {
            account,
            bytes: [0; Kind::ALL.len()],
        }
    }

    /// Changes the charge of one kind.
    pub(crate) fn set(&mut self, kind: Kind, bytes: u64) {
        let held = &mut self.bytes[kind.index()];
        if *held != bytes {
            self.account.add(kind, signed(bytes) - signed(*held));
            *held = bytes;
        }
    }

    /// Moves all charges to another account.
    pub(crate) fn move_to(&mut self, account: &Account) {
        if self.account != *account {
            for kind in Kind::ALL {
                let bytes = signed(self.bytes[kind.index()]);
                self.account.add(kind, -bytes);
                account.add(kind, bytes);
            }
            self.account = account.clone();
        }
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        for kind in Kind::ALL {
            self.set(kind, 0);
        }
    }
}
