use tidings_protocol::NewEvent;

use super::*;

const LIMITS: OutputLimits = OutputLimits {
    each: 1_000,
    task: 3_000,
};

/// Takes events as a log would, and checks the running counts.
#[derive(Default)]
struct Given {
    outputs: Outputs,
    offset: Offset,
}

impl Given {
    fn put(&mut self, event: &NewEvent) {
        let payload = Payload::parse(&event.event_type, &event.data).unwrap();
        self.offset = self.offset.next();
        self.outputs.take((&payload, self.offset), false, LIMITS);
        let texts = self.outputs.texts.values();
        let bytes: usize = texts.clone().map(|text| text.bytes.len()).sum();
        assert!(bytes <= LIMITS.task);
        for text in texts {
            assert!(text.bytes.capacity() <= text.bytes.len() + SLACK);
        }
    }

    fn read(&self, id: &str, wanted: Range<u64>) -> OutputText {
        let id = ItemId::new(id).unwrap();
        let part = self.outputs.read(&id, wanted).unwrap();
        assert_eq!(part.missing, None);
        part.text.begin_whole()
    }
}

#[test]
fn an_output_that_outgrows_its_limit_loses_its_beginning() {
    let mut given = Given::default();
    let mut whole = String::new();
    for n in 0..2_000 {
        let text = format!("wört{n} ");
        whole.push_str(&text);
        given.put(&NewEvent::output_delta("o", text));
    }
    let read = given.read("o", 0..u64::MAX);
    assert_eq!(read.length, whole.len() as u64);
    let start = usize::try_from(read.start).unwrap();
    assert!(whole.len() - start <= LIMITS.each && whole.len() - start > LIMITS.each - 8);
    assert_eq!(read.bytes, whole.as_bytes()[start..]);
    let part = given.read("o", read.start + 10..read.start + 30);
    assert_eq!(part.bytes, whole.as_bytes()[start + 10..start + 30]);
    assert_eq!(given.read("o", 0..5).bytes, b"");
}

#[test]
fn all_of_them_keep_to_the_limit_of_the_task() {
    let mut given = Given::default();
    for n in 0..600 {
        for _ in 0..3 {
            given.put(&NewEvent::output_delta(n.to_string(), "x".repeat(400)));
        }
    }
    assert_eq!(given.outputs.texts.len(), extent::MAX_OUTPUTS);
    let newest = ItemId::new("599").unwrap();
    assert_eq!(given.outputs.length(&newest), Some(1_200));
    assert!(!given.read("599", 0..9_999).bytes.is_empty());
    given.put(&NewEvent::output_completed("599", "done"));
    let read = given.read("599", 0..9_999);
    assert_eq!(
        (read.start, &*read.bytes, read.complete),
        (0, &b"done"[..], true)
    );
    given.outputs.forget_text();
    assert_eq!(given.outputs.length(&newest), Some(4));
    assert_eq!(given.outputs.bytes(), extent::MAX_OUTPUTS * OUTPUT_OVERHEAD);
}

#[test]
fn a_hundred_mebibytes_through_one_output_cost_no_more_than_its_limit() {
    let limits = OutputLimits {
        each: 1 << 20,
        task: 4 << 20,
    };
    let mut outputs = Outputs::default();
    let text = "x".repeat(1_000);
    let mut offset = Offset::ZERO;
    let mut most = 0;
    let event = NewEvent::output_delta("o", text);
    let payload = Payload::parse(&event.event_type, &event.data).unwrap();
    while outputs.length(&ItemId::new("o").unwrap()) < Some(100 << 20) {
        offset = offset.next();
        outputs.take((&payload, offset), false, limits);
        most = most.max(outputs.bytes());
    }
    assert!(most <= limits.each + OUTPUT_OVERHEAD, "{most}");
}

/// A store that applies its changes has the text of every output, for any events and any
/// failures of saving.
#[test]
fn a_store_written_behind_is_told_everything() {
    let mut random = fastrand::Rng::with_seed(19);
    for _ in 0..200 {
        let mut given = Given::default();
        given.outputs.track();
        let mut stored: HashMap<ItemId, (OutputExtent, u64, Vec<u8>)> = HashMap::new();
        for _ in 0..random.usize(..60) {
            let id = random.u8(..3).to_string();
            let text = "word ".repeat(random.usize(..90));
            given.put(&match random.u8(..12) {
                0 => NewEvent::output_completed(id, text.as_str()),
                _ => NewEvent::output_delta(id, text),
            });
            if random.u8(..3) > 0 {
                continue;
            }
            let Some(changes) = given.outputs.begin_save() else {
                continue;
            };
            if random.bool() {
                given.put(&NewEvent::output_delta("0", "meanwhile "));
            }
            let saved = random.u8(..4) > 0;
            given.outputs.end_save(saved);
            if saved {
                apply(&mut stored, &changes);
            }
            if random.bool() {
                given.outputs.forget_text();
            }
        }
        if let Some(changes) = given.outputs.begin_save() {
            apply(&mut stored, &changes);
            given.outputs.end_save(true);
        }
        for output in given.outputs.extents().iter() {
            let (extent, from, text) = &stored[&output.output_id];
            assert_eq!(extent, output);
            assert!(*from <= output.start || output.start == output.length);
            assert_eq!(from + text.len() as u64, output.length);
            let part = given.outputs.read(&output.output_id, 0..u64::MAX).unwrap();
            let here = place(part.text.range.start - from);
            assert_eq!(part.text.bytes, text[here..]);
        }
    }
}

fn apply(stored: &mut HashMap<ItemId, (OutputExtent, u64, Vec<u8>)>, changes: &OutputChanges) {
    for change in &changes.changed {
        let (extent, from, text) = stored
            .entry(change.output.output_id.clone())
            .or_insert_with(|| (change.output.clone(), change.from, Vec::new()));
        extent.clone_from(&change.output);
        if change.from < *from || change.from > *from + text.len() as u64 {
            *from = change.from;
        }
        text.truncate(place(change.from - *from));
        text.extend_from_slice(&change.text);
    }
}

#[test]
fn blocks_hold_what_is_kept_whatever_is_written() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let mut blocks: HashMap<u64, Vec<u8>> = HashMap::new();
        let mut extents = Extents::default();
        let mut before: Option<OutputExtent> = None;
        let mut whole: Vec<u8> = Vec::new();
        for offset in 1..random.u64(2..40) {
            let text: String = (0..random.usize(..2_500))
                .map(|_| random.alphanumeric())
                .collect();
            let event = match random.u8(..10) {
                0 => NewEvent::output_completed("o", text.as_str()),
                _ => NewEvent::output_delta("o", text.clone()),
            };
            if event.event_type.as_str() == "output_completed" {
                whole.clear();
            }
            whole.extend_from_slice(text.as_bytes());
            let payload = Payload::parse(&event.event_type, &event.data).unwrap();
            let mut changes = OutputChanges::default();
            let limits = OutputLimits {
                each: 5_000,
                task: 5_000,
            };
            let at = (&payload, Offset::new(offset).unwrap());
            extents.take(at, false, limits, &mut changes);
            for change in &changes.changed {
                let plan = BlockPlan::new(before.as_ref(), change);
                let kept = blocks.get(&plan.first).cloned().unwrap_or_default();
                for number in plan.delete.iter().cloned().flatten() {
                    blocks.remove(&number);
                }
                blocks.extend(plan.write(&kept, &change.text));
                before = Some(change.output.clone());
            }
            let output = before.as_ref().unwrap();
            assert_eq!(output.length, whole.len() as u64);
            let part = kept_part(output, random.u64(..9_000)..random.u64(..99_000));
            let read = blocks_in(&part).map(|number| blocks[&number].clone());
            let bytes = cut_out(part.clone(), read).unwrap();
            assert_eq!(bytes, whole[place(part.start)..place(part.end)]);
            let held = blocks_of(output);
            assert!(blocks.keys().all(|number| held.contains(number)));
        }
    }
}
