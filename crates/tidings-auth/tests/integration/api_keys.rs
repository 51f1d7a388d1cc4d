//! API keys are generated, stored as hashes, found and replaced.

use tidings_auth::{ApiKeys, NewKey};
use tidings_connections::{AuthError, Authenticator as _, Credentials, Permission, Permissions};
use tidings_protocol::Timestamp;

fn permissions() -> Permissions {
    let scope = ["build-*".parse().unwrap(), "x".parse().unwrap()];
    Permissions::default().with(Permission::Publish, scope.into_iter().collect())
}

#[tokio::test]
async fn a_key_is_found_by_its_hash_and_nothing_near_it_is() {
    let ci = NewKey::generate("ci", &permissions(), None).unwrap();
    let other = NewKey::generate("a \"quoted\" name", &Permissions::all(), None).unwrap();
    let past = Some(Timestamp::from_millis(1_000));
    let old = NewKey::generate("old", &permissions(), past).unwrap();
    let file = format!(
        "# who may come in\n{}{}{}",
        ci.entry, other.entry, old.entry
    );
    assert!(!file.contains(ci.key.reveal()), "only the hash is kept");
    let keys = ApiKeys::parse(&file).unwrap();
    let ask = async |key: &str| keys.authenticate(Credentials::new(Some(key), None)).await;
    let found = ask(ci.key.reveal()).await.unwrap();
    assert_eq!(found.subject.as_deref(), Some("ci"));
    assert_eq!(found.permissions, permissions());
    let found = ask(other.key.reveal()).await.unwrap();
    assert_eq!(found.subject.as_deref(), Some("a \"quoted\" name"));
    assert_eq!(ask(old.key.reveal()).await, Err(AuthError::Expired));
    let key = ci.key.reveal();
    for wrong in [
        "",
        "tdk_",
        &key[1..],
        &key[..key.len() - 1],
        &key.to_uppercase(),
    ] {
        assert_eq!(ask(wrong).await, Err(AuthError::Invalid), "{wrong}");
    }
    let long = "x".repeat(10_000);
    assert_eq!(ask(&long).await, Err(AuthError::Malformed));
    let none = keys.authenticate(Credentials::new(None, None)).await;
    assert_eq!(none, Err(AuthError::Missing));

    let shared = keys.clone();
    shared.replace(&other.entry).unwrap();
    assert_eq!(ask(key).await, Err(AuthError::Invalid), "withdrawn");
    assert!(shared.replace("[[key]]\nsubject = 1").is_err());
    assert!(
        ask(other.key.reveal()).await.is_ok(),
        "a wrong list changes nothing"
    );
    assert!(!format!("{keys:?}{ci:?}").contains(key));
}

/// The id selects one entry, and only that entry is compared. The duration of a check does not
/// depend on the number of keys.
#[tokio::test]
async fn a_key_is_looked_up_by_its_id_and_by_nothing_else() {
    let ci = NewKey::generate("ci", &permissions(), None).unwrap();
    let other = NewKey::generate("other", &permissions(), None).unwrap();
    let id = |key: &NewKey| key.key.reveal().split('_').nth(1).unwrap().to_owned();
    // The hash of the key of `ci` is moved to another id.
    let moved = ci.entry.replace(&id(&ci), &id(&other));
    assert_ne!(moved, ci.entry, "the entry names the id: {}", ci.entry);
    let keys = ApiKeys::parse(&moved).unwrap();
    for key in [&ci, &other] {
        let credentials = Credentials::new(Some(key.key.reveal()), None);
        let answer = keys.authenticate(credentials).await;
        assert_eq!(answer, Err(AuthError::Invalid));
    }
    let mut long = String::new();
    for _ in 0..20_000 {
        long.push_str(&NewKey::generate("x", &permissions(), None).unwrap().entry);
    }
    long.push_str(&ci.entry);
    let keys = ApiKeys::parse(&long).unwrap();
    let credentials = Credentials::new(Some(ci.key.reveal()), None);
    assert!(keys.authenticate(credentials).await.is_ok());
}

#[test]
fn a_list_that_is_none_is_refused_by_what_is_wrong_with_it() {
    let hash = format!(
        "id = \"{}\"\nhash = \"sha256:{}\"",
        "0".repeat(16),
        "0".repeat(64)
    );
    let twice = format!("[[key]]\nsubject = \"a\"\n{hash}\n").repeat(2);
    for (text, expected) in [
        ("key = 1".to_owned(), "not a list of keys"),
        ("[[key]]\nsubject = \"a\"".to_owned(), "not a list of keys"),
        (
            format!("[[key]]\nsubject = \"a\"\n{hash}\nwatsh = []"),
            "not a list of keys",
        ),
        (
            format!("[[key]]\nsubject = \"a\"\n{hash}\nwatch = [\"a b\"]"),
            "not a list of keys",
        ),
        (
            format!("[[key]]\nsubject = \"\"\n{hash}"),
            "1 to 256 characters",
        ),
        (
            "[[key]]\nsubject = \"a\"\nid = \"0123456789abcdef\"\nhash = \"secret\"".to_owned(),
            "not `sha256:`",
        ),
        (
            "[[key]]\nsubject = \"a\"\nid = \"x\"\nhash = \"secret\"".to_owned(),
            "16 hexadecimal digits",
        ),
        (twice, "two keys have the id"),
        (
            format!("[[key]]\nsubject = \"a\"\n{hash}\nexpires = \"soon\""),
            "not a time",
        ),
    ] {
        let error = ApiKeys::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(ApiKeys::parse("").is_ok(), "nobody is let in yet");
}
