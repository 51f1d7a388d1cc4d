//! The token in an answer link: its permissions, and a signature.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use tidings_connections::Signer;
use tidings_protocol::{ItemId, TaskId, Timestamp};

/// The beginning of each signed text. It keeps other signatures of the same key from being valid
/// for links.
const PURPOSE: &[u8] = b"tidings answer link 1\n";

/// The content of an answer link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    #[serde(rename = "t")]
    pub(super) task_id: TaskId,
    #[serde(rename = "i")]
    pub(super) input_id: ItemId,
    /// When the question was asked. A later question may have the same id.
    #[serde(rename = "q")]
    pub(super) asked_at: Timestamp,
    #[serde(rename = "e")]
    pub(super) expires_at: Timestamp,
    /// The name under which the answer is recorded.
    #[serde(rename = "b")]
    pub(super) by: String,
}

impl Link {
    /// Returns the link's token.
    pub(super) fn seal(&self, signer: &dyn Signer) -> String {
        // Writing plain text and times as JSON cannot fail.
        let json = serde_json::to_vec(self).unwrap_or_default();
        let signature = signer.sign(&signed(&json));
        let [json, signature] = [json, signature].map(|part| BASE64URL_NOPAD.encode(&part));
        format!("{json}.{signature}")
    }

    /// Reads a token. Returns `None` if this signer did not sign it.
    pub(super) fn open(token: &str, signer: &dyn Signer) -> Option<Self> {
        let (json, signature) = token.split_once('.')?;
        let json = BASE64URL_NOPAD.decode(json.as_bytes()).ok()?;
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        if !signer.verify(&signed(&json), &signature) {
            return None;
        }
        serde_json::from_slice(&json).ok()
    }
}

fn signed(json: &[u8]) -> Vec<u8> {
    [PURPOSE, json].concat()
}
