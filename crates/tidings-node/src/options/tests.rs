use super::*;
use crate::config::NodeConfig;

/// Returns a configuration with these options set.
fn config(options: &[(&str, &str)]) -> NodeConfig {
    let mut set = Options::default();
    for (name, value) in options {
        set.set(name, value).unwrap();
    }
    NodeConfig::load(set).unwrap()
}

/// Returns all settings that options can change, without the options themselves.
fn text(config: &NodeConfig) -> String {
    let bus = &config.bus;
    let bus = (
        (
            bus.log_limits,
            bus.finished_events_ttl,
            bus.pinned_ttl,
            bus.idle_ttl,
        ),
        (
            bus.total_bytes,
            bus.idempotency_ids,
            bus.idempotency_ttl,
            bus.max_event_bytes,
            bus.ledger_limits(),
        ),
    );
    format!(
        "{:#?}",
        (
            config.listen,
            (&config.log, config.log_format, &config.otlp),
            bus,
            &config.connections,
            &config.transport,
            (&config.redis, &config.node_name),
            (&config.data_dir, &config.store, &config.backup_dir),
            (config.drain_window, config.drain_deadline),
            (&config.auth, &config.tls),
        )
    )
}

#[test]
fn the_defaults_in_the_help_are_those_in_force() {
    let default = text(&config(&[]));
    let mut documented = 0;
    for info in Options::all() {
        let help = info.help();
        let Some((_, value)) = help.split_once("[default: ") else {
            continue;
        };
        let value = value.strip_suffix(']').expect("the default comes last");
        let name = info.name();
        assert_eq!(text(&config(&[(&name, value)])), default, "{name}");
        documented += 1;
    }
    assert_eq!(documented, 39);
}

#[test]
fn every_option_sets_something() {
    for info in Options::all() {
        let name = info.name();
        let value = match info.value_name {
            "ADDR:PORT" => "[::1]:1",
            "FILTER" => "trace",
            "FORMAT" => "json",
            "ORIGIN" => "*",
            "COUNT" => "7",
            "SIZE" => "77MB",
            "TIME" => "77s",
            "BOOL" => "true",
            "URL" if name == "otlp" => "http://127.0.0.1:1",
            "URL" => "redis://127.0.0.1:1",
            "DIR" => "data",
            "MODE" => "every-commit",
            "NET" => "10.0.0.0/8",
            "NAME" => "tidings.example",
            // These options need others: see the tests of authentication and TLS.
            "FILE" | "FILE|URL" | "KIND" | "ALG" => continue,
            other => panic!("{name}: no example of {other}"),
        };
        // Some options have no effect without others.
        let company: &[(&str, &str)] = match name.as_str() {
            "jwt-leeway" | "jwt-audience" | "jwt-issuer" => &[("auth", "jwt"), ("jwt-key", "file")],
            _ => &[],
        };
        let with = [company, &[(name.as_str(), value)]].concat();
        assert_ne!(text(&config(&with)), text(&config(company)), "{name}");
    }
}

#[test]
fn any_origin_beside_others_is_any() {
    for (given, expected) in [
        ("https://a.example,*", "Any"),
        ("https://a.example", "List([\"https://a.example\"])"),
    ] {
        let config = config(&[("allow-origin", given)]);
        let origins = format!("{:?}", config.transport.allowed_origins);
        assert_eq!(origins, expected);
    }
}

fn variables(list: &[(&str, &str)]) -> Result<Options, NodeConfigError> {
    let list = list.iter().map(|(name, value)| (name.into(), value.into()));
    Options::from_variables(list, &["TIDINGS_URL"])
}

#[test]
fn a_value_wins_over_a_variable_and_a_variable_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidings.toml");
    let file = "max-events = 3\nmax-subscriptions = 3\nmax-connections = 3\n";
    fs::write(&path, file).unwrap();
    let variables = variables(&[
        ("TIDINGS_MAX_EVENTS", "2"),
        ("TIDINGS_MAX_SUBSCRIPTIONS", "2"),
        ("TIDINGS_CONFIG", path.to_str().unwrap()),
        ("TIDINGS_URL", "of a client"),
        ("PATH", "/bin"),
    ]);
    let mut values = Options::default();
    values.set("max-events", "1").unwrap();
    let config = NodeConfig::load(values.or(&variables.unwrap())).unwrap();
    assert_eq!(config.bus.log_limits.max_events, 1);
    assert_eq!(config.connections.max_subscriptions, 2);
    assert_eq!(config.connections.max_connections, 3);
    let told = config.in_force();
    for (name, from) in [
        ("max-events = \"1\"", "flag"),
        ("max-subscriptions = \"2\"", "variable"),
        ("max-connections = \"3\"", "file"),
        ("max-inbox", "nowhere"),
    ] {
        let line = told.lines().find(|line| line.starts_with(name));
        let is_from = line.is_some_and(|line| line.ends_with(&format!("# {from}")));
        assert_eq!(is_from, from != "nowhere", "{name} {from}: {told}");
    }
}

#[test]
fn a_wrong_variable_is_named() {
    for (name, value, expected) in [
        ("TIDINGS_MAX_EVENTS", "0", "must be at least 1"),
        (
            "TIDINGS_ALLOW_ORIGIN",
            "https://a.example,nonsense",
            "as https://app.example",
        ),
        ("TIDINGS_MAX_EVNTS", "1", "not an option"),
        ("TIDINGS_max_events", "1", "not an option"),
    ] {
        let error = variables(&[(name, value)]).unwrap_err();
        let told = crate::chain(&error);
        assert!(told.contains(name) && told.contains(expected), "{told}");
    }
}

#[test]
fn an_option_that_is_none_or_wrong_is_refused() {
    let mut options = Options::default();
    let error = options.set("max_events", "1").unwrap_err();
    assert!(matches!(error, OptionError::Unknown { .. }), "{error}");
    let error = options.set("max-events", "many").unwrap_err();
    assert!(matches!(error, OptionError::Invalid { .. }), "{error}");
    assert!(options.texts.is_empty());
}
