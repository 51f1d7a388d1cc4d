//! What do validation and encoding cost, for different sizes?
//!
//! `cargo bench --bench codec`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group};
use serde_json::json;
use tidings_protocol::{
    ClientMessage, ClientRequest, Limits, Offset, Payload, TaskId, TaskSnapshot, Timestamp,
    encode_event,
};

fn request(size: usize) -> String {
    json!({
        "type": "publish",
        "task_id": "bench-0000",
        "event_type": "progress_update",
        "data": {"progress": 40, "message": "x".repeat(size)},
    })
    .to_string()
}

fn codec(criterion: &mut Criterion) {
    let task: TaskId = "bench-0000".parse().unwrap();
    let at = Timestamp::from(std::time::SystemTime::now());
    let offset = Offset::new(100_000).unwrap();
    let mut group = criterion.benchmark_group("codec");
    for (name, size) in [("64 B", 64), ("1 KiB", 1_024), ("16 KiB", 16 * 1_024)] {
        let text = request(size);
        let limits = Limits::default();
        let message = ClientMessage::decode(&text, &limits).unwrap();
        let ClientRequest::Publish { event, .. } = message.kind else {
            panic!("a publish");
        };
        let payload = Payload::parse(&event.event_type, &event.data).unwrap();
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("decode a publish/{name}"), |bencher| {
            bencher.iter(|| ClientMessage::decode(black_box(&text), &limits));
        });
        group.bench_function(format!("check its data/{name}"), |bencher| {
            bencher.iter(|| Payload::parse(&event.event_type, black_box(&event.data)));
        });
        group.bench_function(format!("encode the event/{name}"), |bencher| {
            let mut line = Vec::new();
            bencher.iter(|| {
                line.clear();
                encode_event(&mut line, &task, offset, at, None, black_box(&event))
            });
        });
        group.bench_function(format!("apply it to the snapshot/{name}"), |bencher| {
            let mut snapshot = TaskSnapshot::new(task.clone(), "epoch".parse().unwrap());
            let mut next = Offset::ZERO.next();
            bencher.iter(|| {
                snapshot.apply(black_box(&payload), next, at);
                next = next.next();
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20);
    targets = codec
}

pub(crate) fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
