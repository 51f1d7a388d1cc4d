//! What does a handshake cost the server?
//!
//! `cargo bench --bench handshake` measures the server's CPU time for each client that connects and
//! is greeted. It compares it with hyper's upgrade and nothing else.

use crate::support::process::{self, ServerProcess};
use crate::support::report::median;
use crate::support::{Args, loader, results};

const ROUNDS: usize = 7;

pub(crate) fn main() {
    let args = Args::read();
    let (rounds, clients) = if args.quick {
        (1, 500)
    } else {
        (ROUNDS, 4_000)
    };
    process::pin_to_core(1);
    let mut seen: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (kind, seen) in ["hyper", "tidings"].iter().zip(&mut seen) {
            let server = ServerProcess::start(kind);
            // The first clients also pay for things that are created only once.
            let first = clients / 4;
            let mut held = connect(&server, kind, first);
            let before = server.run_time();
            held.extend(connect(&server, kind, clients));
            let micros = (server.run_time() - before) * 1e6 / clients as f64;
            seen.push(micros);
        }
    }
    let of = |at: usize| median(seen[at].iter().copied());
    let ratio = median(seen[1].iter().zip(&seen[0]).map(|(own, bare)| own / bare));
    println!(
        "server CPU a handshake: hyper {:.1} \u{b5}s, tidings {:.1} \u{b5}s, ratio {ratio:.2}",
        of(0),
        of(1)
    );
    if !args.quick {
        results::record("handshake_to_hyper", ratio);
    }
}

/// Connects clients one after another.
fn connect(server: &ServerProcess, kind: &str, clients: usize) -> Vec<std::net::TcpStream> {
    let path = format!("/ws/tasks/{}", loader::task_id(0));
    (0..clients)
        .map(|_| {
            let mut stream = loader::handshake(server.addr(), &path);
            if kind == "tidings" {
                // The greeting belongs to the handshake.
                let mut greeting = [0; 2_048];
                let count = std::io::Read::read(&mut stream, &mut greeting).unwrap();
                assert!(count > 0, "a greeting");
            }
            stream
        })
        .collect()
}
