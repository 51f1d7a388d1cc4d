//! An authenticator with a fixed list of tokens.

use std::collections::HashMap;

use async_trait::async_trait;
use tidings_connections::{
    AuthError, Authenticator, Credentials, Permission, Permissions, Principal,
};

/// Tokens, and the principal of each.
#[derive(Debug, Default)]
pub struct Tokens(HashMap<String, Result<Principal, AuthError>>);

impl Tokens {
    /// Adds a token for a principal.
    #[must_use]
    pub fn with(mut self, token: &str, principal: Principal) -> Self {
        self.0.insert(token.to_owned(), Ok(principal));
        self
    }

    /// Adds a token that is refused with this error.
    #[must_use]
    pub fn refusing(mut self, token: &str, error: AuthError) -> Self {
        self.0.insert(token.to_owned(), Err(error));
        self
    }
}

#[async_trait]
impl Authenticator for Tokens {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let token = credentials.token.ok_or(AuthError::Missing)?;
        let known = self.0.get(token).cloned();
        known.unwrap_or(Err(AuthError::Invalid))
    }
}

/// Parses permissions such as `watch build-* x, admin *`: names of permissions, each followed by
/// its tasks.
///
/// # Panics
/// Panics if the text has another form.
pub fn permissions(text: &str) -> Permissions {
    text.split(',').fold(Permissions::default(), |known, part| {
        let mut words = part.split_whitespace();
        let name = words.next().expect("a permission's name");
        let permission: Permission = name.parse().expect("a permission's name");
        let scope = words.map(|word| word.parse().expect("a task or a pattern"));
        known.with(permission, scope.collect())
    })
}
