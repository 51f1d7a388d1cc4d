//! What a connection or a request may do.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tidings_protocol::{Pattern, TaskId, Timestamp};

use super::{Permission, Principal, Scope};

/// What may be done: by somebody, or everything where nobody is asked who they are.
///
/// There is no default: whoever allows everything says so, with
/// [`unrestricted`](Self::unrestricted).
#[derive(Debug, Clone)]
pub struct Access(
    /// One pointer: every connection holds one of these.
    Option<Arc<Known>>,
);

/// Somebody who was let in.
#[derive(Debug)]
struct Known {
    principal: Principal,
    /// A fingerprint of the token, where it says of nobody who that is.
    print: Option<Box<str>>,
}

/// Returns enough of a token's hash to know the token again, and nothing to sign
/// in with.
fn fingerprint(token: &str) -> Box<str> {
    use std::fmt::Write as _;

    let hash = Sha256::digest(token.as_bytes());
    let text = hash.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    text.into()
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token does not give the permission `{0}` here")]
pub struct Forbidden(pub Permission);

impl Access {
    /// Everything is allowed.
    pub fn unrestricted() -> Self {
        Self(None)
    }

    /// Nothing is allowed.
    pub fn nothing() -> Self {
        Self::of(Principal::default())
    }

    /// What somebody may do.
    pub fn of(principal: Principal) -> Self {
        Self(Some(Arc::new(Known {
            principal,
            print: None,
        })))
    }

    /// What somebody may do who shows this token.
    pub(crate) fn by_token(principal: Principal, token: Option<&str>) -> Self {
        let print = match (&principal.subject, token) {
            (None, Some(token)) => Some(fingerprint(token)),
            _ => None,
        };
        Self(Some(Arc::new(Known { principal, print })))
    }

    /// Returns whom a client id and what is kept of a client belong to: the
    /// subject, else whoever has this very token; none where nobody is asked for one.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        let known = self.0.as_ref()?;
        match (&known.principal.subject, &known.print) {
            (Some(subject), _) => Some(format!("subject:{subject}").into()),
            (None, Some(print)) => Some(format!("token:{print}").into()),
            (None, None) => None,
        }
    }

    /// Who it is, where that is known.
    pub fn principal(&self) -> Option<&Principal> {
        Some(&self.0.as_ref()?.principal)
    }

    /// Who it is, by name.
    pub fn subject(&self) -> Option<&Arc<str>> {
        self.0.as_ref()?.principal.subject.as_ref()
    }

    /// Until when.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.as_ref()?.principal.expires_at
    }

    /// The tasks of a permission; none: all, because nobody is asked.
    pub fn scope(&self, permission: Permission) -> Option<&Scope> {
        Some(self.0.as_ref()?.principal.permissions.scope(permission))
    }

    /// Whether this may be done to that task.
    pub fn allows(&self, permission: Permission, task_id: &TaskId) -> bool {
        let principal = self.principal();
        principal.is_none_or(|principal| principal.permissions.allow(permission, task_id))
    }

    /// Returns the tasks whose questions may be answered; none: all.
    pub fn answerable(&self) -> Option<Scope> {
        let permissions = &self.principal()?.permissions;
        let [own, implied] = [&permissions.answer, &permissions.command];
        Some(
            own.targets()
                .iter()
                .chain(implied.targets())
                .cloned()
                .collect(),
        )
    }

    /// That this may be done to that task.
    ///
    /// # Errors
    /// What is missing.
    pub fn check(&self, permission: Permission, task_id: &TaskId) -> Result<(), Forbidden> {
        if self.allows(permission, task_id) {
            Ok(())
        } else {
            Err(Forbidden(permission))
        }
    }

    /// That this may be done to every task.
    ///
    /// # Errors
    /// What is missing.
    pub fn check_everything(&self, permission: Permission) -> Result<(), Forbidden> {
        match self.scope(permission) {
            Some(scope) if !scope.is_everything() => Err(Forbidden(permission)),
            _ => Ok(()),
        }
    }

    /// That some task of this pattern may be watched.
    ///
    /// # Errors
    /// None may.
    pub fn check_pattern(&self, pattern: &Pattern) -> Result<(), Forbidden> {
        match self.scope(Permission::Watch) {
            Some(scope) if !scope.overlaps(pattern) => Err(Forbidden(Permission::Watch)),
            _ => Ok(()),
        }
    }
}
