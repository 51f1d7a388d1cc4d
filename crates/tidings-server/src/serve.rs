//! `tidings serve`: runs a node until a signal arrives.

use std::io::{self, Write as _};
use std::process::ExitCode;

use tidings_bus::EventBus;
use tidings_cli::print_bytes;
use tidings_node::{Node, NodeConfig, NodeConfigError, logging};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::otlp::{self, Export};
use crate::signals;

/// Serves until a signal arrives, or until `beside` cancels the token that it receives.
pub(crate) async fn serve<F: Future<Output = ()>>(
    mut config: NodeConfig,
    beside: impl FnOnce(EventBus, CancellationToken) -> F,
) -> Result<(), Failure> {
    let export = Export::start(&mut config)?;
    let filter = logging::start(&config, export.layer());
    let drain = CancellationToken::new();
    signals::install(drain.clone())?;
    let node = Node::start(config.log_filter(filter)).await?;
    let reload = node.reload_handle();
    // `reload` logs its own result.
    signals::on_hangup(move || _ = reload.reload())?;
    announce(&node);
    let beside = beside(node.bus().clone(), drain.clone());
    let (stopped, ()) = tokio::join!(node.run(drain), beside);
    export.stop().await;
    let aborted = stopped.aborted;
    tracing::info!(aborted, stopped = stopped.in_order, "stopped");
    Ok(())
}

/// Makes the same checks as `serve` before it listens. Prints the options in effect.
pub(crate) fn check(config: Result<NodeConfig, NodeConfigError>) -> Result<ExitCode, Failure> {
    /// The exit code for any error in the configuration (`EX_USAGE`).
    const WRONG: u8 = 64;
    let checked = block_on(async {
        let config = config?;
        otlp::available(&config)?;
        config.check()?;
        Ok(config)
    });
    match checked {
        Ok(config) => {
            print_bytes(config.in_force().as_bytes())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            failure.report();
            Ok(ExitCode::from(WRONG))
        }
    }
}

/// Runs `main` on a new runtime.
pub(crate) fn block_on<T>(main: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime?.block_on(main)
}

/// Prints the address of the server and of its dashboard.
fn announce(node: &Node) {
    let http = node.url();
    let (scheme, _) = http.split_once(':').unwrap_or_default();
    let text = include_str!("../help/listening.txt")
        .replace("{scheme}", scheme)
        .replace("{addr}", &node.addr().to_string())
        .replace("{ws}", &http.replacen("http", "ws", 1))
        .replace("{http}", &http);
    let mut out = io::stdout().lock();
    // The server also works if nobody reads this output.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
