//! The three kinds of Redis, and the faults of each.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use tidings_testkit::RedisServer;

/// A Redis under test.
pub(crate) trait Redis: Send + Sync + 'static {
    fn url(&self) -> String;
    /// Stops Redis and starts it again.
    fn restart(&self) {}
    /// Makes another server take over.
    fn fail_over(&self) {}
    /// Every server there is.
    fn servers(&self, what: &mut dyn FnMut(&RedisServer));
}

/// One server.
pub(crate) struct Lone(Mutex<RedisServer>);

impl Lone {
    pub(crate) fn durable() -> Self {
        let arguments = ["--appendonly", "yes", "--appendfsync", "always"];
        Self(Mutex::new(RedisServer::with(&arguments)))
    }

    pub(crate) fn forgetful() -> Self {
        Self(Mutex::new(RedisServer::start()))
    }
}

impl Redis for Lone {
    fn url(&self) -> String {
        self.0.lock().unwrap().url()
    }

    fn restart(&self) {
        self.0.lock().unwrap().start_again();
    }

    fn servers(&self, what: &mut dyn FnMut(&RedisServer)) {
        what(&self.0.lock().unwrap());
    }
}

/// A master, a replica, and three sentinels.
pub(crate) struct Replicated {
    servers: Mutex<Vec<RedisServer>>,
    sentinels: Vec<RedisServer>,
}

impl Replicated {
    pub(crate) fn start() -> Self {
        let master = RedisServer::start();
        let of = format!("127.0.0.1 {}", master.port());
        let replica = RedisServer::with(&["--save", "", "--replicaof", &of]);
        replica.wait_until("the replica is in step", |replica| {
            let info = replica.command("INFO replication");
            info.is_ok_and(|info| info.contains("master_link_status:up"))
        });
        let sentinels: Vec<_> = (0..3)
            .map(|_| RedisServer::sentinel_of(&master, 2))
            .collect();
        for sentinel in &sentinels {
            sentinel.wait_until(
                "the sentinels know of each other and the replica",
                |sentinel| {
                    let info = sentinel.command("INFO sentinel");
                    info.is_ok_and(|info| info.contains("slaves=1,sentinels=3"))
                },
            );
        }
        Self {
            servers: Mutex::new(vec![master, replica]),
            sentinels,
        }
    }
}

fn is_master(server: &RedisServer) -> bool {
    let role = server.command("ROLE");
    role.is_ok_and(|role| role.contains("master"))
}

impl Redis for Replicated {
    fn url(&self) -> String {
        let ports: Vec<_> = self.sentinels.iter().map(RedisServer::port).collect();
        let hosts: Vec<_> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("redis+sentinel://{}/main", hosts.join(","))
    }

    fn fail_over(&self) {
        let mut servers = self.servers.lock().unwrap();
        let Some(at) = servers.iter().position(is_master) else {
            return;
        };
        servers[at].kill();
        let other = &servers[1 - at];
        other.wait_until("the replica takes over", is_master);
        // The server comes back empty. It becomes a replica of the other one, or, if the sentinels
        // gave the takeover up because they were slow, their master again.
        servers[at].start_again();
        let pair = &servers[..];
        pair[0].wait_until("one is the replica of the other", |_| {
            pair.iter().any(|server| {
                let info = server.command("INFO replication");
                info.is_ok_and(|info| info.contains("master_link_status:up"))
            })
        });
        // Sentinels do not choose a server until they count it as healthy again.
        for sentinel in &self.sentinels {
            sentinel.wait_until("the sentinels see it", |sentinel| {
                let info = sentinel.command("INFO sentinel");
                let master = pair.iter().find(|server| is_master(server));
                info.is_ok_and(|info| {
                    info.contains("status=ok")
                        && master.is_some_and(|master| {
                            info.contains(&format!("address=127.0.0.1:{},", master.port()))
                        })
                })
            });
        }
    }

    fn servers(&self, what: &mut dyn FnMut(&RedisServer)) {
        self.servers.lock().unwrap().iter().for_each(what);
    }
}

/// Three masters with a replica each.
pub(crate) struct Cluster(Mutex<Vec<RedisServer>>);

impl Cluster {
    pub(crate) fn start() -> Self {
        let arguments = [
            "--save",
            "",
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-require-full-coverage",
            "no",
        ];
        let servers: Vec<_> = (0..6).map(|_| RedisServer::with(&arguments)).collect();
        let hosts = servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port()));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(hosts)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stdout)
        );
        for server in &servers {
            server.wait_until("the cluster is whole", |server| {
                let info = server.command("CLUSTER INFO");
                let link = server.command("INFO replication").unwrap_or_default();
                info.is_ok_and(|info| info.contains("cluster_state:ok"))
                    && (link.contains("role:master") || link.contains("master_link_status:up"))
            });
        }
        Self(Mutex::new(servers))
    }
}

impl Redis for Cluster {
    fn url(&self) -> String {
        let servers = self.0.lock().unwrap();
        let hosts: Vec<_> = servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port()))
            .collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    fn fail_over(&self) {
        let mut servers = self.0.lock().unwrap();
        let masters: Vec<_> = (0..servers.len())
            .filter(|at| is_master(&servers[*at]))
            .collect();
        let at = masters[fastrand::usize(..masters.len())];
        servers[at].kill();
        let before = masters.len();
        let deadline = std::time::Instant::now() + tidings_testkit::DEADLINE;
        while servers.iter().filter(|server| is_master(server)).count() < before {
            assert!(
                std::time::Instant::now() < deadline,
                "a replica takes over in time"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        servers[at].start_again();
        servers[at].wait_until("the old master is a replica", |server| {
            let info = server.command("INFO replication");
            info.is_ok_and(|info| info.contains("master_link_status:up"))
        });
    }

    fn servers(&self, what: &mut dyn FnMut(&RedisServer)) {
        self.0.lock().unwrap().iter().for_each(what);
    }
}
