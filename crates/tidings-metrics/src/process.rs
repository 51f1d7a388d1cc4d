//! Metrics of the process and its runtime, with the names that Prometheus' own clients use.

use std::fmt::Error;

use tokio::runtime::Handle;

use crate::families::Families;

pub(super) fn encode(to: &mut Families<'_>) -> Result<(), Error> {
    if let Ok(runtime) = Handle::try_current() {
        let metrics = runtime.metrics();
        to.gauge(
            "tidings_runtime_workers",
            "Threads of the runtime",
            metrics.num_workers() as u64,
        )?;
        to.gauge(
            "tidings_runtime_tasks",
            "Tasks of the runtime now",
            metrics.num_alive_tasks() as u64,
        )?;
        to.gauge(
            "tidings_runtime_queue_depth",
            "Tasks waiting in the runtime's shared queue now",
            metrics.global_queue_depth() as u64,
        )?;
    }
    of_system(to)
}

#[cfg(not(target_os = "linux"))]
fn of_system(_: &mut Families<'_>) -> Result<(), Error> {
    Ok(())
}

/// Writes what the operating system reports. Values that cannot be read are left out.
#[cfg(target_os = "linux")]
fn of_system(to: &mut Families<'_>) -> Result<(), Error> {
    use procfs::process::{LimitValue, Process};

    let Ok(me) = Process::myself() else {
        return Ok(());
    };
    if let Ok(stat) = me.stat() {
        let ticks = (stat.utime + stat.stime) as f64;
        to.counter_f64(
            "process_cpu_seconds",
            "User and system CPU time",
            ticks / procfs::ticks_per_second() as f64,
        )?;
        to.gauge(
            "process_resident_memory_bytes",
            "Resident memory now",
            stat.rss * procfs::page_size(),
        )?;
        to.gauge(
            "process_virtual_memory_bytes",
            "Virtual memory now",
            stat.vsize,
        )?;
    }
    if let Ok(count) = me.fd_count() {
        to.gauge(
            "process_open_fds",
            "Open file descriptors now",
            count as u64,
        )?;
    }
    if let Ok(limits) = me.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        to.gauge("process_max_fds", "Limit of open file descriptors", most)?;
    }
    Ok(())
}
