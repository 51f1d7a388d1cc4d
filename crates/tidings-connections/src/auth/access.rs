//! What a connection or a request may do.

use std::sync::Arc;

use tidings_protocol::{Pattern, TaskId, Timestamp};

use super::{Permission, Principal, Scope};

/// What may be done: by somebody, or everything where nobody is asked who they are.
#[derive(Debug, Clone, Default)]
pub struct Access(
    /// One pointer: every connection holds one of these.
    Option<Arc<Principal>>,
);

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token does not give the permission `{0}` here")]
pub struct Forbidden(pub Permission);

impl Access {
    /// Everything is allowed.
    pub fn unrestricted() -> Self {
        Self::default()
    }

    /// What somebody may do.
    pub fn of(principal: Principal) -> Self {
        Self(Some(Arc::new(principal)))
    }

    /// Who it is, where that is known.
    pub fn principal(&self) -> Option<&Principal> {
        self.0.as_deref()
    }

    /// Who it is, by name.
    pub fn subject(&self) -> Option<&Arc<str>> {
        self.0.as_ref()?.subject.as_ref()
    }

    /// Until when.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.as_ref()?.expires_at
    }

    /// The tasks of a permission; none: all, because nobody is asked.
    pub fn scope(&self, permission: Permission) -> Option<&Scope> {
        Some(self.0.as_ref()?.permissions.scope(permission))
    }

    /// Whether this may be done to that task.
    pub fn allows(&self, permission: Permission, task_id: &TaskId) -> bool {
        let scope = self.scope(permission);
        scope.is_none_or(|scope| scope.allows(task_id))
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
