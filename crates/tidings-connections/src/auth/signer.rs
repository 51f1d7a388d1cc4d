//! Signatures of texts that the server gives to clients and receives back from them.

/// Signs texts and verifies its own signatures. `tidings-auth` implements it.
pub trait Signer: Send + Sync + std::fmt::Debug {
    /// Returns the signature of a text.
    fn sign(&self, text: &[u8]) -> Vec<u8>;

    /// Returns whether this is the signature of a text. The comparison takes constant time, so its
    /// duration does not reveal how much of a wrong signature is right.
    fn verify(&self, text: &[u8], signature: &[u8]) -> bool;
}
