use super::*;

/// Recounts the values that the log counts as it changes.
fn run_of(log: &Log) -> (usize, usize) {
    let small = |chunk: &&Arc<Chunk>| {
        chunk.bytes.len() < CHUNK_BYTES / 2 && chunk.records.len() < MERGE_RUN
    };
    let run: Vec<_> = log.sealed.iter().rev().take_while(small).collect();
    (run.len(), run.iter().map(|chunk| chunk.bytes.len()).sum())
}

#[test]
fn the_bytes_that_wait_are_those_past_what_was_saved() {
    let mut log = Log::new(None, Epoch::new("e").unwrap());
    log.set_saved(0);
    let mut sizes = vec![0];
    for n in 1..=200_u64 {
        let size = usize::try_from(n).unwrap() * 7 % 100;
        let write = |_, text: &mut Vec<u8>| {
            text.resize(size, b'x');
            Appended {
                event_type: EventType::TaskStalled,
                timestamp: Timestamp::default(),
                data: (0, size),
                output: None,
            }
        };
        log.append(&Framing::NONE, write, &mut Vec::new());
        sizes.push(size + RECORD_OVERHEAD);
        if n % 3 == 0 {
            log.seal();
        }
    }
    assert_eq!(log.waiting(), sizes.iter().sum::<usize>());
    // Forwards and backwards, because a store may lose events that it had not synced.
    for saved in [0, 1, 50, 197, 198, 199, 200, 120, 3, 200] {
        log.set_saved(saved as u64);
        let expected: usize = sizes[saved + 1..].iter().sum();
        assert_eq!(log.waiting(), expected, "saved up to {saved}");
    }
}

#[test]
fn the_run_of_small_chunks_is_counted_along() {
    let mut log = Log::new(None, Epoch::new("e").unwrap());
    let mut state = 7_u64;
    let mut longest = 0;
    for _ in 0..20_000 {
        // Any numbers work, if they are the same each time.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let number = usize::try_from(state >> 33).unwrap();
        let size = if number % 50 == 0 {
            CHUNK_BYTES
        } else {
            number % 900
        };
        let write = |_, text: &mut Vec<u8>| {
            text.resize(size, b'x');
            Appended {
                event_type: EventType::TaskStalled,
                timestamp: Timestamp::default(),
                data: (0, size),
                output: None,
            }
        };
        log.append(&Framing::NONE, write, &mut Vec::new());
        match number % 7 {
            0 => {}
            1 => drop(log.trim(&LogLimits {
                max_events: 1 + number as u64 % 60,
                max_bytes: usize::MAX,
            })),
            _ => log.seal(),
        }
        assert_eq!((log.run, log.run_bytes), run_of(&log));
        longest = longest.max(log.run);
    }
    assert!(longest > MERGE_RUN / 2, "{longest}");
    log.trim_all();
    assert_eq!((log.run, log.run_bytes), (0, 0));
}
