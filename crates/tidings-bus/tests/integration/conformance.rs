//! The conformance suite of stores finds a store that does not conform, and names the check.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tidings_bus::protocol::{Offset, TaskId};
use tidings_bus::{Append, MemoryStore, Store, StoreError, StoredEvent, StoredTask, conformance};

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    DropsRules,
    DropsRulesOfSeveral,
    StopsAtARefusal,
    TakesAHole,
    TrimsNothing,
    ForgetsRulesByATrim,
    RemovesNothing,
    SaysAnOldFirst,
}

struct Faulty {
    inner: MemoryStore,
    fault: Fault,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

#[async_trait]
impl Store for Faulty {
    async fn open(&self) -> Result<Vec<StoredTask>, StoreError> {
        self.inner.open().await
    }

    async fn append(&self, mut append: Append) -> Result<(), StoreError> {
        if self.has(Fault::DropsRules) {
            append.rules = None;
        }
        match self.inner.append(append).await {
            Err(StoreError::Conflict { expected, got })
                if self.has(Fault::TakesAHole) && Offset::FIRST < expected && expected < got =>
            {
                Ok(())
            }
            answered => answered,
        }
    }

    async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<(), StoreError>> {
        let mut answers = Vec::new();
        for mut append in appends {
            if self.has(Fault::DropsRulesOfSeveral) {
                append.rules = None;
            }
            let refused = answers.iter().any(Result::is_err);
            answers.push(match refused && self.has(Fault::StopsAtARefusal) {
                true => Err(StoreError::Unavailable("another was refused".into())),
                false => self.append(append).await,
            });
        }
        answers
    }

    async fn find(&self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        let mut found = self.inner.find(task_id).await?;
        if let Some(found) = &mut found
            && self.has(Fault::ForgetsRulesByATrim)
            && found.first > Offset::FIRST
        {
            found.rules = Default::default();
        }
        Ok(found)
    }

    async fn read(
        &self,
        task_id: &TaskId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner.read(task_id, from, max_bytes).await
    }

    async fn trim(&self, task_id: &TaskId, first: Offset) -> Result<(), StoreError> {
        match self.has(Fault::TrimsNothing) {
            true => Ok(()),
            false => self.inner.trim(task_id, first).await,
        }
    }

    async fn remove(&self, task_id: &TaskId) -> Result<(), StoreError> {
        match self.has(Fault::RemovesNothing) {
            true => Ok(()),
            false => self.inner.remove(task_id).await,
        }
    }

    fn first(&self, task_id: &TaskId) -> Option<Offset> {
        let first = self.inner.first(task_id);
        match self.has(Fault::SaysAnOldFirst) {
            true => first.map(|_| Offset::FIRST),
            false => first,
        }
    }
}

/// Returns the message with which the suite fails.
async fn failure(fault: Fault) -> String {
    let make = || {
        let inner = MemoryStore::new();
        Arc::new(Faulty { inner, fault })
    };
    let suite = async {
        conformance::run(make).await;
        conformance::run_first(make).await;
    };
    let failed = AssertUnwindSafe(suite).catch_unwind().await;
    let panic = failed.expect_err("the suite must fail");
    let text = panic.downcast_ref::<String>();
    text.expect("a message").clone()
}

#[tokio::test]
async fn a_store_that_does_not_conform_fails_the_check_of_its_fault() {
    for (fault, check) in [
        (Fault::DropsRules, "keeps_rules"),
        (Fault::DropsRulesOfSeveral, "keeps_the_rules_of_several"),
        (Fault::StopsAtARefusal, "answers_each_of_several"),
        (Fault::TakesAHole, "refuses_a_hole_and_a_repeat"),
        (Fault::TrimsNothing, "trims_from_the_front"),
        (
            Fault::ForgetsRulesByATrim,
            "keeps_rules_as_long_as_the_task",
        ),
        (Fault::RemovesNothing, "refuses_another_epoch"),
        (Fault::SaysAnOldFirst, "says_what_is_first"),
    ] {
        let failure = failure(fault).await;
        let expected = format!("the check `{check}` failed: ");
        assert!(failure.starts_with(&expected), "{fault:?}: {failure}");
    }
}
