//! `tidings kick`: closes the connection of a client.

use std::process::ExitCode;

use serde_json::json;
use tidings_client::protocol::ClientId;

use super::{TIMEOUT, absent};
use crate::connect::Server;
use crate::format::Format;
use crate::{Failure, print, print_json};

const EXAMPLES: &str = "\
Examples:
  tidings kick client_0d5e                       an id that `tidings connections` shows
  tidings connections -o json | jq -r .client_id | xargs -n1 tidings kick

The client is told not to come back, and what was kept for it is forgotten. It takes the
permission `admin`. Exit codes: 0 closed; 66 there is no such client; 64 wrong usage; 69
no answer from the server in time; 77 the token is missing or not enough.";

/// Close a client's connection and forget what was kept for it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The client
    client: ClientId,

    #[command(flatten)]
    format: Format,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let client = arguments.server.client()?;
    let kicked = client.kick(&arguments.client);
    let kicked = arguments.server.within(TIMEOUT, kicked).await?;
    kicked.map_err(|error| absent(error, &arguments.client))?;
    if arguments.format.is_json() {
        let json = json!({ "client_id": arguments.client, "kicked": true });
        print_json(&json.to_string())?;
    } else {
        print(&format!("{} kicked", arguments.client))?;
    }
    Ok(ExitCode::SUCCESS)
}
