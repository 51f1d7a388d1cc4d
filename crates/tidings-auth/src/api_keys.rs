//! API keys: `tdk_`, an id, and a long random secret. The key file contains only hashes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tidings_connections::{
    AuthError, Authenticator, Credentials, Permission, Permissions, Principal, Scope,
};
use tidings_protocol::{Secret, Timestamp};

use crate::MAX_TOKEN_BYTES;
use crate::jwt::is_subject;

/// The prefix of every key. It makes a leaked key easy to recognise.
const PREFIX: &str = "tdk_";

/// Random bytes in a key. Nobody can guess 256 bits, so a fast hash is sufficient.
const KEY_BYTES: usize = 32;

/// Random bytes in an id. The id is used to find the key's entry and is not secret.
const ID_BYTES: usize = 8;

/// The most keys in one file. The time of a check does not depend on the number of keys.
const MAX_KEYS: usize = 100_000;

type Hash = [u8; 32];

type Id = [u8; ID_BYTES];

/// The reason why a list of keys is not valid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeysError {
    /// The text is not TOML with `[[key]]` tables, or a table has an unknown field.
    #[error("the text is not a list of keys")]
    Malformed(#[source] Box<toml::de::Error>),
    /// An id does not have the form that `tidings token` writes.
    #[error(
        "the id of {subject:?} is not 16 hexadecimal digits: make the key with `tidings token`"
    )]
    Id {
        /// The subject of the key.
        subject: String,
    },
    /// Two entries have the same id, so a lookup could find only one of them.
    #[error("two keys have the id {id}: remove one of them")]
    Twice {
        /// The id.
        id: String,
    },
    /// A hash is not a SHA-256 hash.
    #[error("the hash of {subject:?} is not `sha256:` and 64 hexadecimal digits")]
    Hash {
        /// The subject of the key.
        subject: String,
    },
    /// A subject is empty, longer than 256 characters, or contains control characters.
    #[error("a subject must have 1 to 256 characters and no control characters")]
    Subject,
    /// An `expires` is not a time such as `2027-01-01T00:00:00Z`.
    #[error("the `expires` of {subject:?} is not a time such as 2027-01-01T00:00:00Z")]
    Expires {
        /// The subject of the key.
        subject: String,
    },
    /// The file has more keys than a server reads.
    #[error("the list has more than {MAX_KEYS} keys")]
    TooMany,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    subject: String,
    id: String,
    hash: String,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    watch: Scope,
    #[serde(default)]
    publish: Scope,
    #[serde(default)]
    answer: Scope,
    #[serde(default)]
    command: Scope,
    #[serde(default)]
    admin: Scope,
}

struct Known {
    hash: Hash,
    principal: Principal,
}

type Keys = HashMap<Id, Known>;

/// An authenticator that accepts these API keys. Clones share one list of keys.
#[derive(Clone)]
pub struct ApiKeys(Arc<RwLock<Keys>>);

impl ApiKeys {
    /// Creates an authenticator from the text of a key file: TOML with a table for each key.
    ///
    /// ```
    /// # use tidings_auth::ApiKeys;
    /// let keys = ApiKeys::parse(r#"
    ///     [[key]]
    ///     subject = "ci"
    ///     id = "9f86d081884c7d65"
    ///     hash = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    ///     publish = ["build-*"]
    ///     expires = "2027-01-01T00:00:00Z"
    /// "#)?;
    /// # Ok::<(), tidings_auth::ApiKeysError>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`ApiKeysError`] if the text is not a valid list of keys.
    pub fn parse(text: &str) -> Result<Self, ApiKeysError> {
        Ok(Self(Arc::new(RwLock::new(read(text)?))))
    }

    /// Replaces the list of keys. Existing connections stay open. A client whose key was removed
    /// cannot connect again.
    ///
    /// # Errors
    /// Returns [`ApiKeysError`] if the text is not a valid list. The old list then stays in use.
    pub fn replace(&self, text: &str) -> Result<(), ApiKeysError> {
        let keys = read(text)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Returns the principal of a key. The id selects one entry. The comparison with that entry
    /// takes constant time, so its duration reveals nothing about the secret.
    fn find(&self, key: &str) -> Option<Principal> {
        let id = id_of(key)?;
        let hash = hash(key);
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = keys.get(&id)?;
        bool::from(known.hash.ct_eq(&hash)).then(|| known.principal.clone())
    }
}

/// Returns the id that is contained in a key such as `tdk_9f86d081884c7d65_…`.
fn id_of(key: &str) -> Option<Id> {
    let (id, _) = key.strip_prefix(PREFIX)?.split_once('_')?;
    parse_id(id)
}

fn parse_id(text: &str) -> Option<Id> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
    Id::try_from(bytes).ok()
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.read().unwrap_or_else(PoisonError::into_inner).len();
        write!(f, "ApiKeys({count})")
    }
}

#[async_trait]
impl Authenticator for ApiKeys {
    async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Principal, AuthError> {
        let key = credentials.token.ok_or(AuthError::Missing)?;
        if key.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        let known = self.find(key).ok_or(AuthError::Invalid)?;
        let now = Timestamp::from(std::time::SystemTime::now());
        if known.expires_at.is_some_and(|end| end <= now) {
            return Err(AuthError::Expired);
        }
        Ok(known)
    }
}

fn hash(key: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    hash
}

fn read(text: &str) -> Result<Keys, ApiKeysError> {
    let malformed = |error| ApiKeysError::Malformed(Box::new(error));
    let File { key: entries } = toml::from_str(text).map_err(malformed)?;
    if entries.len() > MAX_KEYS {
        return Err(ApiKeysError::TooMany);
    }
    let mut keys = Keys::with_capacity(entries.len());
    for entry in entries {
        let Some(id) = parse_id(&entry.id) else {
            let subject = entry.subject;
            return Err(ApiKeysError::Id { subject });
        };
        if keys.insert(id, Known::try_from(entry)?).is_some() {
            let id = HEXLOWER.encode(&id);
            return Err(ApiKeysError::Twice { id });
        }
    }
    Ok(keys)
}

impl TryFrom<Entry> for Known {
    type Error = ApiKeysError;

    fn try_from(entry: Entry) -> Result<Self, ApiKeysError> {
        let Entry { subject, .. } = entry;
        if !is_subject(&subject) {
            return Err(ApiKeysError::Subject);
        }
        let hex = entry.hash.strip_prefix("sha256:");
        let hash = hex
            .and_then(|hex| HEXLOWER.decode(hex.as_bytes()).ok())
            .and_then(|bytes| Hash::try_from(bytes).ok());
        let Some(hash) = hash else {
            return Err(ApiKeysError::Hash { subject });
        };
        let expires = entry.expires.map(|text| text.parse()).transpose();
        let Ok(expires) = expires else {
            return Err(ApiKeysError::Expires { subject });
        };
        let mut permissions = Permissions::default();
        permissions.watch = entry.watch;
        permissions.publish = entry.publish;
        permissions.answer = entry.answer;
        permissions.command = entry.command;
        permissions.admin = entry.admin;
        let principal = Principal::new(permissions)
            .subject(subject)
            .expires_at(expires);
        Ok(Self { hash, principal })
    }
}

/// A newly generated API key.
#[derive(Debug)]
pub struct NewKey {
    /// The key. Show it once to its owner; nothing stores it.
    pub key: Secret,
    /// The entry for the key file: a TOML table with the key's hash. Append it to the file.
    pub entry: String,
}

impl NewKey {
    /// Generates a key for `subject`.
    ///
    /// # Errors
    /// Returns an error if the subject is not valid.
    pub fn generate(
        subject: &str,
        permissions: &Permissions,
        expires: Option<Timestamp>,
    ) -> Result<Self, ApiKeysError> {
        if !is_subject(subject) {
            return Err(ApiKeysError::Subject);
        }
        let mut random = [0; ID_BYTES + KEY_BYTES];
        let filled = SystemRandom::new().fill(&mut random);
        filled.expect("the system has randomness to give");
        let (id, secret) = random.split_at(ID_BYTES);
        let (id, secret) = (HEXLOWER.encode(id), HEXLOWER.encode(secret));
        let key = format!("{PREFIX}{id}_{secret}");
        // JSON and TOML write a string, or a list of strings, of these characters in the same way.
        let quoted = serde_json::Value::from(subject);
        let hash = HEXLOWER.encode(&hash(&key));
        let mut entry =
            format!("\n[[key]]\nsubject = {quoted}\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n");
        for permission in Permission::ALL.iter().copied() {
            let scope = permissions.scope(permission);
            if !scope.is_nothing() {
                let list: Vec<_> = scope.targets().iter().map(ToString::to_string).collect();
                entry.push_str(&format!("{permission} = {list:?}\n"));
            }
        }
        if let Some(expires) = expires {
            entry.push_str(&format!("expires = \"{expires}\"\n"));
        }
        Ok(Self {
            key: key.into(),
            entry,
        })
    }
}
