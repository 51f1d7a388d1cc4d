//! All benches in one program, which uses the name by which it was called.
//!
//! `cargo bench --bench fanout` calls it `fanout` (see `launch`). The measured code is therefore
//! linked only once, with optimisation across crates, and not thirteen times. Thirteen links took
//! more than 21 minutes on two cores; one link takes 2 min 46 s.

mod support;

mod behind;
mod children;
mod codec;
mod cores;
mod disk;
mod fanout;
mod flood;
mod growth;
mod handshake;
mod hostile;
mod http_publish;
mod idle;
mod many;
mod peers;
mod publish;
mod recovery;
mod redis;
mod store;
mod summary;

const BENCHES: [(&str, fn()); 19] = [
    ("behind", behind::main),
    ("children", children::main),
    ("codec", codec::main),
    ("cores", cores::main),
    ("disk", disk::main),
    ("fanout", fanout::main),
    ("flood", flood::main),
    ("growth", growth::main),
    ("handshake", handshake::main),
    ("hostile", hostile::main),
    ("http_publish", http_publish::main),
    ("idle", idle::main),
    ("many", many::main),
    ("peers", peers::main),
    ("publish", publish::main),
    ("recovery", recovery::main),
    ("redis", redis::main),
    ("store", store::main),
    ("summary", summary::main),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let [_, flag, kind] = args.as_slice()
        && flag == "--serve"
    {
        return support::servers::run(kind);
    }
    let called = args.first().map_or("", String::as_str);
    let Some((_, bench)) = BENCHES.iter().find(|(name, _)| *name == called) else {
        let names = BENCHES.map(|(name, _)| name).join(", ");
        eprintln!("cargo bench --bench NAME runs a bench; there are {names}");
        std::process::exit(2);
    };
    bench();
}
