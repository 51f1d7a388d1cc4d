//! Static keys: `tdk_`, an id, and a long random secret. A file has their hashes.

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

/// What every key begins with, so that one that got out is recognised.
const PREFIX: &str = "tdk_";

/// Random bytes of a key: nobody guesses 256 bits, so a fast hash is enough.
const KEY_BYTES: usize = 32;

/// Random bytes of an id: it finds the key's entry, and is no secret.
const ID_BYTES: usize = 8;

/// Keys in one file at most. A check costs the same however many there are.
const MAX_KEYS: usize = 100_000;

type Hash = [u8; 32];

type Id = [u8; ID_BYTES];

/// What is wrong with a list of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeysError {
    /// Not TOML of `[[key]]` tables with the fields that there are.
    #[error("it is not a list of keys")]
    Malformed(#[source] Box<toml::de::Error>),
    /// An id is not what `tidings token` writes.
    #[error(
        "the id of {subject:?} is not 16 hexadecimal digits: make the key with `tidings token`"
    )]
    Id {
        /// Whose.
        subject: String,
    },
    /// Two entries have one id, so one of them could never be found.
    #[error("two keys have the id {id}: remove one of them")]
    Twice {
        /// The id.
        id: String,
    },
    /// A hash is not SHA-256.
    #[error("the hash of {subject:?} is not `sha256:` and 64 hexadecimal digits")]
    Hash {
        /// Whose.
        subject: String,
    },
    /// Empty, longer than 256 characters, or with control characters.
    #[error("a subject has 1 to 256 characters, none of them control characters")]
    Subject,
    /// Not a time such as `2027-01-01T00:00:00Z`.
    #[error("the `expires` of {subject:?} is not a time such as 2027-01-01T00:00:00Z")]
    Expires {
        /// Whose.
        subject: String,
    },
    /// The file has more keys than one server reads.
    #[error("it has more than {MAX_KEYS} keys")]
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
    command: Scope,
    #[serde(default)]
    admin: Scope,
}

struct Known {
    hash: Hash,
    principal: Principal,
}

type Keys = HashMap<Id, Known>;

/// Lets in who shows one of these keys. Clones share one list.
#[derive(Clone)]
pub struct ApiKeys(Arc<RwLock<Keys>>);

impl ApiKeys {
    /// From the text of a file: TOML with a table for each key.
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
    /// See [`ApiKeysError`].
    pub fn parse(text: &str) -> Result<Self, ApiKeysError> {
        Ok(Self(Arc::new(RwLock::new(read(text)?))))
    }

    /// Puts another list in place of the one there is. Connections that are
    /// there stay; whoever's key is gone does not come back.
    ///
    /// # Errors
    /// See [`ApiKeysError`]; the list there is stays then.
    pub fn replace(&self, text: &str) -> Result<(), ApiKeysError> {
        let keys = read(text)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Returns whose key this is. The id leads to one entry; how long the
    /// comparison with it takes says nothing about the secret.
    fn find(&self, key: &str) -> Option<Principal> {
        let id = id_of(key)?;
        let hash = hash(key);
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = keys.get(&id)?;
        bool::from(known.hash.ct_eq(&hash)).then(|| known.principal.clone())
    }
}

/// Returns the id in a key such as `tdk_9f86d081884c7d65_…`.
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
        permissions.command = entry.command;
        permissions.admin = entry.admin;
        let principal = Principal::new(permissions)
            .subject(subject)
            .expires_at(expires);
        Ok(Self { hash, principal })
    }
}

/// A key that was made just now.
#[derive(Debug)]
pub struct NewKey {
    /// The key: shown once, and kept by nobody but its owner.
    pub key: Secret,
    /// What to append to the file of keys: a table of TOML, with its hash.
    pub entry: String,
}

impl NewKey {
    /// Makes a key for `subject`.
    ///
    /// # Errors
    /// The subject cannot be one.
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
        // Text and lists of text of this alphabet are the same in JSON and TOML.
        let quoted = serde_json::Value::from(subject);
        let hash = HEXLOWER.encode(&hash(&key));
        let mut entry =
            format!("\n[[key]]\nsubject = {quoted}\nid = \"{id}\"\nhash = \"sha256:{hash}\"\n");
        for permission in Permission::ALL {
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
