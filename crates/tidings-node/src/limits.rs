//! The limits of a single client, from the options.

use tidings_connections::{ClientLimits, Rate};

use crate::options::Options;
use crate::value::Count;

/// Returns the limits of a client. The default limits are for strangers. A server without
/// authentication that only its own machine can reach has only the limits that are set.
pub(crate) fn limits(options: &Options, strangers: bool) -> ClientLimits {
    let mut limits = if strangers {
        ClientLimits::for_strangers()
    } else {
        ClientLimits::default()
    };
    let most = |given: Option<Count<0>>, default: Option<usize>| {
        given.map_or(default, |count| {
            Some(count.to_usize()).filter(|count| *count > 0)
        })
    };
    let rate = |given: Option<u64>, default: Option<Rate>| {
        given.map_or(default, |count| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            (count > 0).then(|| Rate::per_second(count))
        })
    };
    let count = |given: Option<Count<0>>| given.map(Count::get);
    let size = |given: Option<crate::value::Size<0>>| given.map(crate::value::Size::get);
    limits.connections_per_address =
        most(options.address_connections, limits.connections_per_address);
    limits.connections_per_subject =
        most(options.subject_connections, limits.connections_per_subject);
    limits.handshakes_per_address =
        rate(count(options.handshake_rate), limits.handshakes_per_address);
    limits.messages_per_connection =
        rate(count(options.message_rate), limits.messages_per_connection);
    limits.bytes_per_connection = rate(size(options.byte_rate), limits.bytes_per_connection);
    limits.messages_per_client = rate(
        count(options.client_message_rate),
        limits.messages_per_client,
    );
    limits.bytes_per_client = rate(size(options.client_byte_rate), limits.bytes_per_client);
    limits.tasks_per_client = rate(count(options.client_task_rate), limits.tasks_per_client);
    // Allow much larger bursts, as when an office opens its dashboards in the morning.
    let debt = |given: Option<u64>, times: u32, default: Option<Rate>| {
        given.map_or(default, |count| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            (count > 0).then(|| Rate::new(count, count.saturating_mul(times)))
        })
    };
    // Work in one burst delays other clients, so the burst is smaller than the work of a second.
    limits.work_per_client =
        count(options.client_work_rate).map_or(limits.work_per_client, |count| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            (count > 0).then(|| Rate::steady(count, count / 4))
        });
    limits.refusals_per_client = debt(
        count(options.client_refusal_rate),
        10,
        limits.refusals_per_client,
    );
    limits.failures_per_address =
        debt(count(options.failure_rate), 50, limits.failures_per_address);
    limits
}
