//! The schemas in `docs/schema` match the Rust types.
#![cfg(feature = "schema")]

use std::fs;
use std::path::Path;

use serde_json::Value;

const RENEW: &str =
    "TIDINGS_BLESS=1 cargo test -p tidings-protocol --features schema schema_is_fresh::";

#[test]
fn the_files_are_what_the_types_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema");
    let bless = std::env::var_os("TIDINGS_BLESS").is_some();
    let mut all = tidings_protocol::schema::all();
    all.push(("close-codes.json", tidings_protocol::schema::close_codes()));
    for (name, text) in all {
        let path = folder.join(name);
        if bless {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let file = fs::read_to_string(&path).unwrap_or_default();
        // Compare values, because the order of keys depends on how serde_json was built.
        let [file, fresh] = [&file, &text].map(|text| serde_json::from_str::<Value>(text).ok());
        assert!(
            file == fresh,
            "docs/schema/{name} is not fresh; renew it with\n  {RENEW}"
        );
    }
}
