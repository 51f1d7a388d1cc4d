//! The tables of options in `docs/configuration.md` match the program.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tidings_node::{OptionInfo, Options};

const RENEW: &str = "TIDINGS_BLESS=1 cargo test -p tidings-node configuration_page::";

/// Returns the line after which the table of a heading begins.
fn start(heading: &str) -> String {
    format!("<!-- options: {heading} -->\n")
}

const END: &str = "<!-- end of options -->";

/// Returns the default of an option, and its help text without that default.
fn default_and_help(info: &OptionInfo) -> (String, String) {
    let help = info.help();
    for mark in ["[default: ", "[for strangers: "] {
        if let Some((help, value)) = help.split_once(mark) {
            let value = value.strip_suffix(']').expect("the default comes last");
            return (format!("`{value}`"), help.trim_end().to_owned());
        }
    }
    let none = if info.is_switch { "`false`" } else { "–" };
    (none.to_owned(), help)
}

/// Puts addresses into backticks, so that no renderer turns them into links.
fn quote_urls(help: &str) -> String {
    let words: Vec<String> = help
        .split(' ')
        .map(|word| {
            let bare = word.trim_end_matches([',', '.', ';', ':']);
            if bare.contains("://") && !bare.contains('`') {
                format!("`{bare}`{}", &word[bare.len()..])
            } else {
                word.to_owned()
            }
        })
        .collect();
    words.join(" ")
}

fn table(heading: &str) -> String {
    let options = Options::all().iter().filter(|info| info.heading == heading);
    let mut table = String::from("\n| option | value | default | meaning |\n|---|---|---|---|\n");
    for info in options {
        let (default, help) = default_and_help(info);
        let list = if info.is_list { ", …" } else { "" };
        let value = info.value_name.replace('|', " or ");
        let help = quote_urls(&help);
        let name = info.name();
        writeln!(table, "| `{name}` | {value}{list} | {default} | {help} |").unwrap();
    }
    table.push('\n');
    table
}

#[test]
fn the_page_has_every_option_as_the_program_has_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut wanted = page.clone();
    let mut headings: Vec<&str> = Options::all().iter().map(|info| info.heading).collect();
    headings.dedup();
    for heading in headings {
        let start = start(heading);
        let (before, rest) = wanted
            .split_once(&start)
            .unwrap_or_else(|| panic!("the page has no line {start}"));
        let (_, after) = rest.split_once(END).expect("the table has an end");
        wanted = format!("{before}{start}{}{END}{after}", table(heading));
    }
    if std::env::var_os("TIDINGS_BLESS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap();
    assert!(
        page == wanted,
        "docs/configuration.md is not fresh; renew it with\n  {RENEW}"
    );
}
