//! The settings for Redis.

use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::defaults;

/// Settings of a node's link to Redis.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    /// The address and the kind of Redis.
    pub deployment: Deployment,
    /// The prefix of keys and channels. Installations that share a Redis need different
    /// prefixes. Default: `tidings`.
    pub prefix: String,
    /// The name of this node for people. Default: the beginning of a random id.
    pub node_name: Option<String>,
    /// The number of events kept per task, within 64. Default: that of the bus, 1,000.
    pub max_events: u64,
    /// The number of bytes kept per task. Default: that of the bus, 256 KiB.
    pub max_bytes: usize,
    /// How long an unfinished task is kept after its last event. Redis's clock decides, so
    /// nodes' clocks do not matter. Default: 24 h.
    pub idle_ttl: Duration,
    /// How long an ended task's snapshot is kept. Default: 24 h.
    pub pinned_ttl: Duration,
    /// How long an ended task's events are kept. Default: 1 h.
    pub finished_events_ttl: Duration,
    /// The number of event ids that are remembered per task. Default: 1,024.
    pub idempotency_ids: usize,
    /// How long event ids are remembered after the last one. Default: 5 min.
    pub idempotency_ttl: Duration,
    /// How long a command waits for Redis to come back before it fails. A publish then answers
    /// `unavailable`. Default: 3 s.
    pub wait: Duration,
    /// The longest time for one command. Default: 2 s.
    pub response_timeout: Duration,
}

impl RedisConfig {
    /// Creates the default settings for this deployment.
    pub fn new(deployment: Deployment) -> Self {
        use tidings_bus::defaults as bus;
        Self {
            deployment,
            prefix: defaults::PREFIX.to_owned(),
            node_name: None,
            max_events: bus::MAX_EVENTS,
            max_bytes: bus::MAX_BYTES,
            idle_ttl: bus::IDLE_TTL,
            pinned_ttl: bus::PINNED_TTL,
            finished_events_ttl: bus::FINISHED_EVENTS_TTL,
            idempotency_ids: bus::IDEMPOTENCY_IDS,
            idempotency_ttl: bus::IDEMPOTENCY_TTL,
            wait: defaults::WAIT,
            response_timeout: defaults::RESPONSE_TIMEOUT,
        }
    }

    /// Takes over the retention settings of a bus.
    #[must_use]
    pub fn retaining_as(mut self, bus: &tidings_bus::BusConfig) -> Self {
        self.max_events = bus.log_limits.max_events;
        self.max_bytes = bus.log_limits.max_bytes;
        self.idle_ttl = bus.idle_ttl;
        self.pinned_ttl = bus.pinned_ttl;
        self.finished_events_ttl = bus.finished_events_ttl;
        self.idempotency_ids = bus.idempotency_ids;
        self.idempotency_ttl = bus.idempotency_ttl;
        self
    }

    /// Sets the prefix of keys and channels.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the name of this node for people.
    #[must_use]
    pub fn node_name(mut self, name: impl Into<String>) -> Self {
        self.node_name = Some(name.into());
        self
    }

    /// Sets how long a command waits for Redis to come back.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets the longest time for one command.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }
}

/// The kind of Redis: one server, servers behind Sentinel, or a cluster.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Deployment {
    /// One server.
    Single(ConnectionInfo),
    /// The master that these sentinels name.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<ConnectionInfo>,
        /// The sentinels' name for the master.
        master: String,
        /// Database, user, password and TLS for the master itself.
        server: ConnectionInfo,
    },
    /// The cluster that these servers belong to.
    Cluster(Vec<ConnectionInfo>),
}

/// The error of a text that is not an address of Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The scheme is unknown.
    #[error(
        "expected redis://HOST:PORT or rediss:// for TLS; redis+sentinel://HOST:PORT,HOST:PORT/MASTER; or redis+cluster://HOST:PORT,HOST:PORT"
    )]
    Scheme,
    /// The address names sentinels, but no master.
    #[error("the name of the master is missing: redis+sentinel://HOST:PORT/MASTER")]
    NoMaster,
    /// A part of the address cannot be read.
    #[error("{0:?} is not the address of a Redis server")]
    Part(String),
}

impl std::str::FromStr for Deployment {
    type Err = AddressError;

    /// `redis://[USER:PASSWORD@]HOST:PORT[/DB]`, `rediss://` for TLS;
    /// `redis+sentinel://[USER:PASSWORD@]HOST:PORT,…/MASTER[/DB]`;
    /// `redis+cluster://[USER:PASSWORD@]HOST:PORT,…`. With `rediss+…` the
    /// servers are reached over TLS; user and password are the servers'.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let (base, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !matches!(base, "redis" | "rediss" | "valkey" | "valkeys") {
            return Err(AddressError::Scheme);
        }
        if kind.is_empty() {
            return Ok(Self::Single(info(text)?));
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match hosts.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), hosts),
        };
        match kind {
            "cluster" => hosts
                .split(',')
                .map(|host| info(&format!("{base}://{user}{host}")))
                .collect::<Result<_, _>>()
                .map(Self::Cluster),
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, "0"));
                if master.is_empty() {
                    return Err(AddressError::NoMaster);
                }
                Ok(Self::Sentinel {
                    sentinels: hosts
                        .split(',')
                        .map(|host| info(&format!("redis://{host}")))
                        .collect::<Result<_, _>>()?,
                    master: master.to_owned(),
                    server: info(&format!("{base}://{user}named-by-sentinel/{db}"))?,
                })
            }
            _ => Err(AddressError::Scheme),
        }
    }
}

/// Reads one address. Errors quote no password: they contain only the part after the user's.
fn info(url: &str) -> Result<ConnectionInfo, AddressError> {
    url.into_connection_info().map_err(|_| {
        let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
        AddressError::Part(shown.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_address() {
        let parse = |text: &str| text.parse::<Deployment>();
        assert!(matches!(parse("redis://h:1/2"), Ok(Deployment::Single(_))));
        assert!(matches!(
            parse("rediss://u:p@h:1"),
            Ok(Deployment::Single(_))
        ));
        let Ok(Deployment::Cluster(nodes)) = parse("redis+cluster://u:p@a:1,b:2") else {
            panic!("a cluster");
        };
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[1].redis_settings().username(), Some("u"));
        let sentinel = parse("rediss+sentinel://u:p@a:1,b:2,c:3/main/4");
        let Ok(Deployment::Sentinel {
            sentinels,
            master,
            server,
        }) = sentinel
        else {
            panic!("sentinels");
        };
        assert_eq!((sentinels.len(), master.as_str()), (3, "main"));
        assert_eq!(server.redis_settings().db(), 4);
        assert!(matches!(
            server.addr(),
            redis::ConnectionAddr::TcpTls { .. }
        ));
    }

    #[test]
    fn says_what_is_wrong_and_no_password() {
        let error = |text: &str| text.parse::<Deployment>().unwrap_err();
        assert_eq!(error("http://h"), AddressError::Scheme);
        assert_eq!(error("redis+sentinel://h:1"), AddressError::NoMaster);
        let wrong = error("redis+cluster://u:secret@h:x").to_string();
        assert!(
            wrong.contains("h:x") && !wrong.contains("secret"),
            "{wrong}"
        );
    }
}
