//! Finds the current master through the sentinels.
//!
//! The client crate asks the first sentinel that answers. During a failover that sentinel may
//! be wrong. A former master that has just started again claims to be one. It accepts writes,
//! which are lost as soon as a sentinel corrects it. This module therefore asks all sentinels
//! and uses the newest configuration. It trusts no answer in the middle of a failover.

use std::collections::HashMap;

use futures_util::future::join_all;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisResult};

use crate::defaults::CONNECT_TIMEOUT;
use crate::link::io_error;

/// The fields of one sentinel's answer about a master.
type Said = HashMap<String, String>;

/// Returns the address of the master.
pub(crate) async fn master(sentinels: &[ConnectionInfo], name: &str) -> RedisResult<(String, u16)> {
    let said = join_all(sentinels.iter().map(|sentinel| ask(sentinel, name))).await;
    choose(said.into_iter().filter_map(Result::ok))
        .ok_or_else(|| io_error("the sentinels name no master at the moment"))
}

async fn ask(sentinel: &ConnectionInfo, name: &str) -> RedisResult<Said> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT));
    let client = Client::open(sentinel.clone())?;
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&settings)
        .await?;
    redis::cmd("SENTINEL")
        .arg("MASTER")
        .arg(name)
        .query_async(&mut connection)
        .await
}

fn choose(said: impl Iterator<Item = Said>) -> Option<(String, u16)> {
    let said: Vec<Said> = said.collect();
    let unsure = ["o_down", "failover_in_progress"];
    let is_unsure = |said: &Said| {
        said.get("flags")
            .is_some_and(|flags| flags.split(',').any(|flag| unsure.contains(&flag)))
    };
    if said.iter().any(is_unsure) {
        return None;
    }
    let newest = said.iter().max_by_key(|said| {
        said.get("config-epoch")
            .and_then(|epoch| epoch.parse::<u64>().ok())
    })?;
    Some((newest.get("ip")?.clone(), newest.get("port")?.parse().ok()?))
}

/// Returns the settings of `server`, at another address.
pub(crate) fn at(server: &ConnectionInfo, (host, port): (String, u16)) -> ConnectionInfo {
    let addr = match server.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    server.clone().set_addr(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ip: &str, epoch: &str, flags: &str) -> Said {
        [
            ("ip", ip),
            ("port", "1"),
            ("config-epoch", epoch),
            ("flags", flags),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn the_newest_configuration_counts() {
        let all = [said("old", "9", "master"), said("new", "10", "master")];
        assert_eq!(choose(all.into_iter()), Some(("new".to_owned(), 1)));
        assert_eq!(choose(std::iter::empty()), None);
    }

    #[test]
    fn nobody_is_believed_during_a_failover() {
        for flags in ["master,s_down,o_down", "master,failover_in_progress"] {
            let all = [said("old", "9", "master"), said("old", "9", flags)];
            assert_eq!(choose(all.into_iter()), None, "{flags}");
        }
        // One sentinel alone may be cut off.
        let all = [said("a", "9", "master"), said("a", "9", "master,s_down")];
        assert!(choose(all.into_iter()).is_some());
    }
}
