//! Signatures of what the server gives out and gets back.

/// Signs texts, and knows its signatures again. `tidings-auth` has one.
pub trait Signer: Send + Sync + std::fmt::Debug {
    /// Returns the signature of a text.
    fn sign(&self, text: &[u8]) -> Vec<u8>;

    /// Returns whether this is the signature of a text. The time that this takes says
    /// nothing of how much of the signature is right.
    fn verify(&self, text: &[u8], signature: &[u8]) -> bool;
}
