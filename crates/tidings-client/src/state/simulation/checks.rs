//! Checks the invariants at the end of a run.

use super::*;

/// Checks the log of each task that clients perform. All reports of a run come from the
/// worker that started it, in order and once. One end ends the run.
pub(super) async fn check_jobs(node: &Node) {
    for task in JOBS {
        let task = TaskId::new(task).unwrap();
        let Some(page) = node
            .bus
            .history(&task, Some(Since::Start), usize::MAX)
            .await
        else {
            continue;
        };
        // If the start is no longer retained, the worker is not known.
        let mut run: Option<(String, Option<u64>)> = None;
        let mut over = false;
        for event in page.events {
            let data: serde_json::Value = serde_json::from_str(event.data_json()).unwrap();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let place = format!("{task} {}", event.offset());
            let known = |mark: String| match &run {
                Some((running, _)) => assert_eq!(*running, mark, "{place}: another worker's run"),
                None => assert!(event.offset().get() > 1, "{place}: nothing has started it"),
            };
            match event.event_type() {
                EventType::TaskStarted => {
                    assert!(run.is_none() || over, "{place}: started while it runs");
                    run = Some((text(&data["name"]), None));
                    over = false;
                    continue;
                }
                EventType::TaskCompleted => known(text(&data["result"])),
                EventType::TaskFailed if data["error"]["code"] == "lost" => {}
                EventType::TaskFailed => known(text(&data["error"]["message"])),
                other if other.as_str() == "count" => {
                    known(text(&data["mark"]));
                    let n = data["n"].as_u64().unwrap();
                    if let Some((_, last)) = &mut run {
                        let last = last.replace(n);
                        assert!(
                            last.is_none_or(|last| n == last + 1),
                            "{place}: {n} after {last:?}"
                        );
                    }
                }
                _ => continue,
            }
            assert!(!over, "{place}: after the end");
            over = event.event_type().as_str() != "count";
        }
    }
}

/// Heals the network and lets programs take their updates until nothing changes. Then
/// every watch must be at the head of every log.
pub(super) async fn finish(
    node: &Node,
    clients: &mut [Client],
    rng: &mut Rng,
    ledger: &mut Ledger,
) {
    for client in clients.iter_mut() {
        while !client.jobs.is_empty() {
            client.end_job(0, rng.bool(), Instant::now());
        }
        client.outputs(ledger);
    }
    let mut quiet = 0;
    let mut rounds = 0;
    while quiet < 5 {
        rounds += 1;
        if rounds > 10_000 {
            for client in clients.iter() {
                trace(|| format!("client {} waits: {:#?}", client.number, client.state));
            }
            panic!("it never comes to rest");
        }
        let mut moved = false;
        for client in clients.iter_mut() {
            client.tick(ledger);
            client.refresh(rng, ledger);
            client.connect(node, rng, ledger);
            client.deliver(usize::MAX).await;
            settle().await;
            // A pipe may hold a part of one message at a time.
            while client.receive(usize::MAX, ledger) {
                settle().await;
            }
            moved |= client.take(usize::MAX, ledger);
            moved |= !client.state.is_connected() || !client.waiting.is_empty();
            moved |= client.state.pending() > 0 || !client.asked.is_empty();
            moved |= client.net.as_ref().is_some_and(|net| net.stalled);
        }
        check_jobs(node).await;
        // Pings and heartbeats never stop. They must not cause changes.
        quiet = if moved { 0 } else { quiet + 1 };
        tokio::time::advance(Duration::from_millis(600)).await;
    }
    for client in clients.iter() {
        let number = client.number;
        assert!(
            client.waiting.is_empty(),
            "client {number}: {:?}",
            client.waiting
        );
        for watch in client.watches.values() {
            for task in TASKS {
                let task = TaskId::new(task).unwrap();
                let wanted = match &watch.target {
                    Target::Task(own) => *own == task,
                    Target::Pattern(pattern) => pattern.matches(&task),
                    Target::Tree(_) => unreachable!("not asked for"),
                };
                let Some(truth) = node.bus.snapshot(&task).filter(|_| wanted) else {
                    continue;
                };
                let target = &watch.target;
                let Some(followed) = watch.tasks.get(&task) else {
                    panic!("client {number}: {target} was told nothing of {task}");
                };
                assert_eq!(
                    followed.checker.expected(),
                    Some(truth.offset.get() + 1),
                    "client {number}: {target} stands still in {task}"
                );
                if let Err(violation) = followed.state.compare(&truth) {
                    panic!("client {number}: {target} of {task}: {violation}");
                }
            }
            for (task, followed) in &watch.tasks {
                // A task without events exists as long as a watch names it.
                let offset = followed.state.state().map_or(0, |state| state.offset.get());
                assert!(
                    offset == 0 || node.bus.snapshot(task).is_some(),
                    "client {number}: {} has not forgotten {task}",
                    watch.target
                );
            }
        }
    }
}
