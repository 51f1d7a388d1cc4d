//! The permissions of a connection or a request.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tidings_protocol::{Pattern, Target, TaskId, Timestamp};

use super::{Permission, Principal, Scope};

/// The permissions of a client. Without authentication, everything is allowed.
///
/// There is no default value. Code that allows everything says so with
/// [`unrestricted`](Self::unrestricted).
#[derive(Debug, Clone)]
pub struct Access(
    /// A single pointer, because every connection stores one.
    Option<Arc<Known>>,
);

/// An authenticated client.
#[derive(Debug)]
struct Known {
    principal: Principal,
    /// A fingerprint of the token, if the token names no subject.
    print: Option<Box<str>>,
}

/// Returns a part of the token's hash. It identifies the token, but nobody can log in with it.
fn fingerprint(token: &str) -> Box<str> {
    use std::fmt::Write as _;

    let hash = Sha256::digest(token.as_bytes());
    let text = hash.iter().take(16).fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    text.into()
}

/// The permission that the token lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token does not give the permission `{0}` here")]
pub struct Forbidden(pub Permission);

impl Access {
    /// Returns an access that allows everything.
    pub fn unrestricted() -> Self {
        Self(None)
    }

    /// Returns an access that allows nothing.
    pub fn nothing() -> Self {
        Self::of(Principal::default())
    }

    /// Returns the access of a principal.
    pub fn of(principal: Principal) -> Self {
        Self(Some(Arc::new(Known {
            principal,
            print: None,
        })))
    }

    /// Returns the access of a principal that showed this token.
    pub(crate) fn by_token(principal: Principal, token: Option<&str>) -> Self {
        let print = match (&principal.subject, token) {
            (None, Some(token)) => Some(fingerprint(token)),
            _ => None,
        };
        Self(Some(Arc::new(Known { principal, print })))
    }

    /// Returns the owner of a client id and of the client's state: the subject, or the holder of
    /// this very token if it names no subject. Returns `None` without authentication.
    pub(crate) fn owner(&self) -> Option<Arc<str>> {
        let known = self.0.as_ref()?;
        match (&known.principal.subject, &known.print) {
            (Some(subject), _) => Some(format!("subject:{subject}").into()),
            (None, Some(print)) => Some(format!("token:{print}").into()),
            (None, None) => None,
        }
    }

    /// Returns the principal, or `None` without authentication.
    pub fn principal(&self) -> Option<&Principal> {
        Some(&self.0.as_ref()?.principal)
    }

    /// Returns the name of the principal, if it has one.
    pub fn subject(&self) -> Option<&Arc<str>> {
        self.0.as_ref()?.principal.subject.as_ref()
    }

    /// Returns when the access ends, if it ends.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.as_ref()?.principal.expires_at
    }

    /// Returns the tasks of a permission. Returns `None` without authentication, which means all.
    pub fn scope(&self, permission: Permission) -> Option<&Scope> {
        Some(self.0.as_ref()?.principal.permissions.scope(permission))
    }

    /// Returns whether the permission covers the task.
    pub fn allows(&self, permission: Permission, task_id: &TaskId) -> bool {
        let principal = self.principal();
        principal.is_none_or(|principal| principal.permissions.allow(permission, task_id))
    }

    /// Returns the tasks whose questions may be answered. `None` means all tasks.
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

    /// Returns all permissions for the task, to tell the client. Returns `None` if nothing is
    /// forbidden.
    pub(crate) fn told(&self, task_id: &TaskId) -> Option<Vec<Permission>> {
        let all = Permission::ALL.iter().copied();
        let allowed: Vec<_> = all.filter(|one| self.allows(*one, task_id)).collect();
        (allowed.len() < Permission::ALL.len()).then_some(allowed)
    }

    /// Checks that the permission covers the task.
    ///
    /// # Errors
    /// Returns the missing permission.
    pub fn check(&self, permission: Permission, task_id: &TaskId) -> Result<(), Forbidden> {
        if self.allows(permission, task_id) {
            Ok(())
        } else {
            Err(Forbidden(permission))
        }
    }

    /// Checks that the permission covers every task.
    ///
    /// # Errors
    /// Returns the missing permission.
    pub fn check_everything(&self, permission: Permission) -> Result<(), Forbidden> {
        match self.scope(permission) {
            Some(scope) if !scope.is_everything() => Err(Forbidden(permission)),
            _ => Ok(()),
        }
    }

    /// Checks that the target may be watched: the task, the topmost task of the tree, or at least
    /// one task of the pattern.
    ///
    /// # Errors
    /// Returns the missing permission.
    pub fn check_target(&self, target: &Target) -> Result<(), Forbidden> {
        match target {
            Target::Task(task_id) | Target::Tree(task_id) => self.check(Permission::Watch, task_id),
            Target::Pattern(pattern) => self.check_pattern(pattern),
        }
    }

    /// Checks that at least one task of the pattern may be watched.
    ///
    /// # Errors
    /// Returns the missing permission.
    pub fn check_pattern(&self, pattern: &Pattern) -> Result<(), Forbidden> {
        match self.scope(Permission::Watch) {
            Some(scope) if !scope.overlaps(pattern) => Err(Forbidden(Permission::Watch)),
            _ => Ok(()),
        }
    }
}
