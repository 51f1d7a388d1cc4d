//! Every option, once: as a flag, a `TIDINGS_*` variable and a key of the file.

use std::path::PathBuf;

use serde::Deserialize;

use crate::value::{
    AuthKind, Collector, Count, JwtAlgorithm, Listen, Log, LogFormat, Network, Origin, RedisUrl,
    Size, SyncMode, Time,
};

/// What was set in one place. The defaults named here are the libraries'; a
/// test holds the two together.
#[derive(Debug, Default, Clone, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8000]
    #[arg(long, env = "TIDINGS_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<Listen>,

    /// A TOML file with any of these options but this one, by the names that
    /// they have here, such as `max-events = 500`
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// What to log to standard error: levels, for all or by module
    /// [default: info,hyper=warn]
    #[arg(long, env = "TIDINGS_LOG", value_name = "FILTER")]
    pub log: Option<Log>,

    /// How to log: text, or json for one object a line [default: text]
    #[arg(long, env = "TIDINGS_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// A collector to send a span of every request to, by OTLP over HTTP, such as
    /// http://127.0.0.1:4318; for programs built with the feature `otlp`. The
    /// variables `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_EXPORTER_OTLP_HEADERS` count too
    #[arg(long, env = "TIDINGS_OTLP", value_name = "URL")]
    pub otlp: Option<Collector>,

    /// Web pages that may connect, beside this server's own: origins such as
    /// https://app.example, separated by commas; `*` for any. Programs that are
    /// no browsers always may
    #[arg(
        long,
        env = "TIDINGS_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub allow_origin: Option<Vec<Origin>>,

    /// Where Redis is, to be one of several servers: redis://HOST:PORT, or
    /// rediss:// for TLS, redis+sentinel://HOST:PORT,HOST:PORT/MASTER,
    /// redis+cluster://HOST:PORT,HOST:PORT; with USER:PASSWORD@ if it asks for one
    #[arg(
        long,
        env = "TIDINGS_REDIS",
        value_name = "URL",
        hide_env_values = true
    )]
    pub redis: Option<RedisUrl>,

    /// What this server is called among several; by default its machine's name and port
    #[arg(long, env = "TIDINGS_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// How people are asked who they are: none, jwt or keys. Without being asked
    /// they come in from this machine only [default: none]
    #[arg(
        long,
        env = "TIDINGS_AUTH",
        value_name = "KIND",
        help_heading = "Who may come in"
    )]
    pub auth: Option<AuthKind>,

    /// The key of the tokens: for HS256 the file of the secret, else a public key
    /// as PEM; or the https address of a JWKS
    #[arg(
        long,
        env = "TIDINGS_JWT_KEY",
        value_name = "FILE|URL",
        help_heading = "Who may come in"
    )]
    pub jwt_key: Option<String>,

    /// How tokens are signed: HS256, RS256, ES256 or EdDSA [default: HS256]
    #[arg(
        long,
        env = "TIDINGS_JWT_ALGORITHM",
        value_name = "ALG",
        help_heading = "Who may come in"
    )]
    pub jwt_algorithm: Option<JwtAlgorithm>,

    /// Names of this server: a token must be for one of them
    #[arg(
        long,
        env = "TIDINGS_JWT_AUDIENCE",
        value_name = "NAME",
        help_heading = "Who may come in",
        value_delimiter = ','
    )]
    pub jwt_audience: Option<Vec<String>>,

    /// Who is believed: a token must be from one of them
    #[arg(
        long,
        env = "TIDINGS_JWT_ISSUER",
        value_name = "NAME",
        help_heading = "Who may come in",
        value_delimiter = ','
    )]
    pub jwt_issuer: Option<Vec<String>>,

    /// How far clocks may differ, 5m at most [default: 30s]
    #[arg(
        long,
        env = "TIDINGS_JWT_LEEWAY",
        value_name = "TIME",
        help_heading = "Who may come in"
    )]
    pub jwt_leeway: Option<Time<0>>,

    /// The file of the API keys; read again when it changes
    #[arg(
        long,
        env = "TIDINGS_API_KEYS",
        value_name = "FILE",
        help_heading = "Who may come in"
    )]
    pub api_keys: Option<PathBuf>,

    /// Let everybody in who reaches the server, from other machines too
    #[arg(
        long,
        env = "TIDINGS_ALLOW_ANONYMOUS",
        value_name = "BOOL",
        help_heading = "Who may come in",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub allow_anonymous: Option<bool>,

    /// Take tokens as `?token=…` too, for clients that have no other way; they
    /// then lie in the logs of what is in between
    #[arg(
        long,
        env = "TIDINGS_TOKEN_IN_QUERY",
        value_name = "BOOL",
        help_heading = "Who may come in",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub token_in_query: Option<bool>,

    /// The chain of certificates as PEM, to serve https:// and wss://; read again
    /// when it changes, and on SIGHUP
    #[arg(
        long,
        env = "TIDINGS_TLS_CERT",
        value_name = "FILE",
        help_heading = "TLS and proxies"
    )]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate as PEM
    #[arg(
        long,
        env = "TIDINGS_TLS_KEY",
        value_name = "FILE",
        help_heading = "TLS and proxies"
    )]
    pub tls_key: Option<PathBuf>,

    /// Names that the server answers to, beside those of this machine; looked at
    /// where it listens on this machine only, and wherever any is given
    #[arg(
        long,
        env = "TIDINGS_ALLOW_HOST",
        value_name = "NAME",
        help_heading = "TLS and proxies",
        value_delimiter = ','
    )]
    pub allow_host: Option<Vec<String>>,

    /// Networks of proxies, such as 10.0.0.0/8, that are believed who is behind
    /// them (X-Forwarded-For, Forwarded)
    #[arg(
        long,
        env = "TIDINGS_TRUSTED_PROXY",
        value_name = "NET",
        help_heading = "TLS and proxies",
        value_delimiter = ','
    )]
    pub trusted_proxy: Option<Vec<Network>>,

    /// Trusted proxies speak the PROXY protocol, version 2; others are refused
    #[arg(
        long,
        env = "TIDINGS_PROXY_PROTOCOL",
        value_name = "BOOL",
        help_heading = "TLS and proxies",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub proxy_protocol: Option<bool>,

    /// Events kept per task [default: 1000]
    #[arg(
        long,
        env = "TIDINGS_MAX_EVENTS",
        value_name = "COUNT",
        help_heading = "Tasks"
    )]
    pub max_events: Option<Count<1>>,

    /// Bytes of events kept per task, whichever bound comes first [default: 256KiB]
    #[arg(
        long,
        env = "TIDINGS_MAX_TASK_BYTES",
        value_name = "SIZE",
        help_heading = "Tasks"
    )]
    pub max_task_bytes: Option<Size<1_024>>,

    /// How long the events of a task stay after it has ended [default: 1h]
    #[arg(
        long,
        env = "TIDINGS_FINISHED_TTL",
        value_name = "TIME",
        help_heading = "Tasks"
    )]
    pub finished_ttl: Option<Time<0>>,

    /// How long the last state of a task stays after it has ended [default: 24h]
    #[arg(
        long,
        env = "TIDINGS_PINNED_TTL",
        value_name = "TIME",
        help_heading = "Tasks"
    )]
    pub pinned_ttl: Option<Time<0>>,

    /// How long a task that does not end stays after its last event [default: 24h]
    #[arg(
        long,
        env = "TIDINGS_IDLE_TTL",
        value_name = "TIME",
        help_heading = "Tasks"
    )]
    pub idle_ttl: Option<Time<0>>,

    /// Bytes kept over all tasks; past it the tasks that ended first lose
    /// their events first [default: 256MiB]
    #[arg(
        long,
        env = "TIDINGS_MAX_TOTAL_BYTES",
        value_name = "SIZE",
        help_heading = "Tasks"
    )]
    pub max_total_bytes: Option<Size<65_536>>,

    /// The largest event that may be published [default: 64KiB]
    #[arg(
        long,
        env = "TIDINGS_MAX_EVENT_BYTES",
        value_name = "SIZE",
        help_heading = "Tasks"
    )]
    pub max_event_bytes: Option<Size<256>>,

    /// Ids of events remembered per task, so that a retry is not published
    /// twice [default: 1024]
    #[arg(
        long,
        env = "TIDINGS_IDEMPOTENCY_IDS",
        value_name = "COUNT",
        help_heading = "Tasks"
    )]
    pub idempotency_ids: Option<Count<1>>,

    /// How long the id of an event is remembered [default: 5m]
    #[arg(
        long,
        env = "TIDINGS_IDEMPOTENCY_TTL",
        value_name = "TIME",
        help_heading = "Tasks"
    )]
    pub idempotency_ttl: Option<Time<0>>,

    /// Where tasks are kept beyond a restart; one server at a time. Without it
    /// they are in memory alone
    #[arg(
        long,
        env = "TIDINGS_DATA_DIR",
        value_name = "DIR",
        help_heading = "Storage"
    )]
    pub data_dir: Option<PathBuf>,

    /// When an event is on disk: every-commit (before it is acknowledged and
    /// seen), interval:MS (so many milliseconds later at most), or os (when the
    /// system finds time) [default: interval:50]
    #[arg(
        long,
        env = "TIDINGS_SYNC",
        value_name = "MODE",
        help_heading = "Storage"
    )]
    pub sync: Option<SyncMode>,

    /// Bytes of events kept on disk per task [default: 64MiB]
    #[arg(
        long,
        env = "TIDINGS_MAX_STORED_TASK_BYTES",
        value_name = "SIZE",
        help_heading = "Storage"
    )]
    pub max_stored_task_bytes: Option<Size<65_536>>,

    /// Bytes of events kept on disk over all tasks; past it the tasks that
    /// ended first lose their events first [default: 8GiB]
    #[arg(
        long,
        env = "TIDINGS_MAX_STORED_BYTES",
        value_name = "SIZE",
        help_heading = "Storage"
    )]
    pub max_stored_bytes: Option<Size<1_048_576>>,

    /// How long an event stays on disk, whatever room there is [default: 7d]
    #[arg(
        long,
        env = "TIDINGS_STORED_TTL",
        value_name = "TIME",
        help_heading = "Storage"
    )]
    pub stored_ttl: Option<Time<0>>,

    /// Where a running server puts the backups that `tidings backup` asks for;
    /// without it none are made
    #[arg(
        long,
        env = "TIDINGS_BACKUP_DIR",
        value_name = "DIR",
        help_heading = "Storage"
    )]
    pub backup_dir: Option<PathBuf>,

    /// Between two signs of life on a quiet connection; keep it below the idle
    /// timeout of the proxies on the way [default: 25s]
    #[arg(
        long,
        env = "TIDINGS_HEARTBEAT_INTERVAL",
        value_name = "TIME",
        help_heading = "Connections"
    )]
    pub heartbeat_interval: Option<Time<10>>,

    /// How long a client may take nothing at all of what is sent to it
    /// [default: 30s]
    #[arg(
        long,
        env = "TIDINGS_WRITE_TIMEOUT",
        value_name = "TIME",
        help_heading = "Connections"
    )]
    pub write_timeout: Option<Time<10>>,

    /// How long a client that went away can come back to where it was; 0s for
    /// not at all [default: 5m]
    #[arg(
        long,
        env = "TIDINGS_OFFLINE_TTL",
        value_name = "TIME",
        help_heading = "Connections"
    )]
    pub offline_ttl: Option<Time<0>>,

    /// Connections at a time; each takes a file descriptor, see `ulimit -n`
    /// [default: 15000]
    #[arg(
        long,
        env = "TIDINGS_MAX_CONNECTIONS",
        value_name = "COUNT",
        help_heading = "Connections"
    )]
    pub max_connections: Option<Count<1>>,

    /// Tasks and patterns that one connection may subscribe to by name
    /// [default: 1000]
    #[arg(
        long,
        env = "TIDINGS_MAX_SUBSCRIPTIONS",
        value_name = "COUNT",
        help_heading = "Connections"
    )]
    pub max_subscriptions: Option<Count<1>>,

    /// The largest message from a client [default: 64KiB]
    #[arg(
        long,
        env = "TIDINGS_MAX_MESSAGE_BYTES",
        value_name = "SIZE",
        help_heading = "Connections"
    )]
    pub max_message_bytes: Option<Size<256>>,

    /// A client that is this many events behind skips outdated progress and
    /// output, and is told what it skipped [default: 256]
    #[arg(
        long,
        env = "TIDINGS_SKIP_BEHIND",
        value_name = "COUNT",
        help_heading = "Connections"
    )]
    pub skip_behind: Option<Count<0>>,

    /// Personal messages kept for a client [default: 100]
    #[arg(
        long,
        env = "TIDINGS_INBOX_MESSAGES",
        value_name = "COUNT",
        help_heading = "Connections"
    )]
    pub inbox_messages: Option<Count<1>>,

    /// How long a client may take to send the head of a request [default: 15s]
    #[arg(
        long,
        env = "TIDINGS_HEADER_TIMEOUT",
        value_name = "TIME",
        help_heading = "Connections"
    )]
    pub header_timeout: Option<Time<10>>,

    /// How long a client may take to send the body of a request [default: 15s]
    #[arg(
        long,
        env = "TIDINGS_BODY_TIMEOUT",
        value_name = "TIME",
        help_heading = "Connections"
    )]
    pub body_timeout: Option<Time<10>>,

    /// Connections at a time from one address (IPv6: one /64); 0 for any number,
    /// as for all of these [for strangers: 1000]
    #[arg(
        long,
        env = "TIDINGS_ADDRESS_CONNECTIONS",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub address_connections: Option<Count<0>>,

    /// Connections at a time of one subject [for strangers: 1000]
    #[arg(
        long,
        env = "TIDINGS_SUBJECT_CONNECTIONS",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub subject_connections: Option<Count<0>>,

    /// Connections a second that one address may begin [for strangers: 100]
    #[arg(
        long,
        env = "TIDINGS_HANDSHAKE_RATE",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub handshake_rate: Option<Count<0>>,

    /// Messages a second on one connection [for strangers: 2000]
    #[arg(
        long,
        env = "TIDINGS_MESSAGE_RATE",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub message_rate: Option<Count<0>>,

    /// Bytes a second on one connection [for strangers: 4MiB]
    #[arg(
        long,
        env = "TIDINGS_BYTE_RATE",
        value_name = "SIZE",
        help_heading = "Limits of one client"
    )]
    pub byte_rate: Option<Size<0>>,

    /// Messages, requests and events a second of one client: a subject, or else an
    /// address [for strangers: 5000]
    #[arg(
        long,
        env = "TIDINGS_CLIENT_MESSAGE_RATE",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub client_message_rate: Option<Count<0>>,

    /// Bytes a second of one client [for strangers: 8MiB]
    #[arg(
        long,
        env = "TIDINGS_CLIENT_BYTE_RATE",
        value_name = "SIZE",
        help_heading = "Limits of one client"
    )]
    pub client_byte_rate: Option<Size<0>>,

    /// Tasks a second that one client may make [for strangers: 100]
    #[arg(
        long,
        env = "TIDINGS_CLIENT_TASK_RATE",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub client_task_rate: Option<Count<0>>,

    /// Tasks matched and events read a second for one client [for strangers: 20000]
    #[arg(
        long,
        env = "TIDINGS_CLIENT_WORK_RATE",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub client_work_rate: Option<Count<0>>,

    /// Requests a second from one address that may come to nothing before it is
    /// known who asks [for strangers: 10]
    #[arg(
        long,
        env = "TIDINGS_FAILURE_RATE",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub failure_rate: Option<Count<0>>,

    /// HTTP connections at a time; WebSockets and streams of events are not
    /// counted [default: 4096]
    #[arg(
        long,
        env = "TIDINGS_MAX_HTTP_CONNECTIONS",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub max_http_connections: Option<Count<1>>,

    /// The same from one address [default: 1024]
    #[arg(
        long,
        env = "TIDINGS_ADDRESS_HTTP_CONNECTIONS",
        value_name = "COUNT",
        help_heading = "Limits of one client"
    )]
    pub address_http_connections: Option<Count<1>>,

    /// Over how long clients are told to spread their coming back when the
    /// server stops [default: 5s]
    #[arg(
        long,
        env = "TIDINGS_DRAIN_WINDOW",
        value_name = "TIME",
        help_heading = "Stopping"
    )]
    pub drain_window: Option<Time<0>>,

    /// How long stopping may take; what is left then is cut off [default: 10s]
    #[arg(
        long,
        env = "TIDINGS_DRAIN_DEADLINE",
        value_name = "TIME",
        help_heading = "Stopping"
    )]
    pub drain_deadline: Option<Time<0>>,
}

/// Calls a macro with what is given and the names of all options.
macro_rules! with_names {
    ($macro:ident: $($given:ident),*) => {
        $macro! { $($given),*:
            listen, config, log, log_format, otlp, allow_origin, redis, node_name,
            auth, jwt_key, jwt_algorithm, jwt_audience, jwt_issuer, jwt_leeway, api_keys,
            allow_anonymous, token_in_query,
            tls_cert, tls_key, allow_host, trusted_proxy, proxy_protocol,
            max_events, max_task_bytes, finished_ttl, pinned_ttl, idle_ttl, max_total_bytes,
            max_event_bytes, idempotency_ids, idempotency_ttl,
            data_dir, sync, max_stored_task_bytes, max_stored_bytes, stored_ttl, backup_dir,
            heartbeat_interval, write_timeout, offline_ttl, max_connections, max_subscriptions,
            max_message_bytes, skip_behind, inbox_messages, header_timeout, body_timeout,
            address_connections, subject_connections, handshake_rate, message_rate, byte_rate,
            client_message_rate, client_byte_rate, client_task_rate,
            client_work_rate, failure_rate, max_http_connections, address_http_connections,
            drain_window, drain_deadline,
        }
    };
}

macro_rules! merge {
    ($first:ident, $second:ident: $($name:ident),* $(,)?) => {
        // A field that is missing here does not compile.
        Self { $($name: $first.$name.or($second.$name)),* }
    };
}

macro_rules! compare {
    ($first:ident, $second:ident: $($name:ident),* $(,)?) => {
        [$((stringify!($name), format!("{:?}", $first.$name) != format!("{:?}", $second.$name))),*]
    };
}

impl Options {
    /// These, and those of `other` where nothing is set here.
    pub(crate) fn or(self, other: Self) -> Self {
        with_names! { merge: self, other }
    }

    /// The options that are set otherwise in `other`, by their names in the file.
    pub(crate) fn changed(&self, other: &Self) -> Vec<String> {
        let all = with_names! { compare: self, other };
        let changed = all.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(name, _)| name.replace('_', "-")).collect()
    }
}

/// Returns the options as arguments of a command line.
pub fn arguments() -> impl Iterator<Item = clap::Arg> {
    let command = <Options as clap::Args>::augment_args(clap::Command::new("options"));
    command
        .get_arguments()
        .cloned()
        .collect::<Vec<_>>()
        .into_iter()
}
