//! `tidings send`: a personal message to one client.

use std::process::ExitCode;

use serde_json::json;
use tidings_client::protocol::{ClientId, EventType};

use super::{TIMEOUT, absent};
use crate::connect::Server;
use crate::data::Words;
use crate::format::Format;
use crate::{Failure, print, print_json};

const EXAMPLES: &str = "\
Examples:
  tidings send client_0d5e notice text='Maintenance at noon'
  tidings send dashboard-1 reload '{\"after_ms\": 500}'

key=text is text, key:=json any JSON. The client gets it at once, or when it comes back
within the offline time. Prints the message's place in the client's inbox. It takes the
permission `admin`. Exit codes: 0 in the inbox; 66 there is no such client; 64 wrong
usage; 65 no message can have such a value; 69 no answer from the server in time; 76 refused by the server; 77 the token is
missing or not enough.";

/// Send a personal message to a client
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    server: Server,

    /// The client
    client: ClientId,

    /// The type of the message
    #[arg(value_name = "TYPE")]
    event_type: EventType,

    /// The data: a JSON object, or key=text and key:=json as often as needed
    #[arg(value_name = "DATA")]
    data: Vec<String>,

    #[command(flatten)]
    format: Format,
}

pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let data = Words::parse(&arguments.data).and_then(|words| words.data(&[]));
    let data = data.map_err(|wrong| wrong.of("DATA"))?;
    let client = arguments.server.client()?;
    let sent = client.send_personal(&arguments.client, &arguments.event_type, &data);
    let sent = arguments.server.within(TIMEOUT, sent).await?;
    let offset = sent.map_err(|error| absent(error, &arguments.client))?;
    if arguments.format.is_json() {
        let json = json!({ "client_id": arguments.client, "offset": offset });
        print_json(&json.to_string())?;
    } else {
        print(&offset.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
