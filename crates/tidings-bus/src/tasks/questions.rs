//! Questions of tasks: which answers a task's state allows. Pure.
//!
//! A question is open while the task's state has it among its `pending_inputs`. The state
//! therefore decides which answer is the first, on every node and after a restart.

use tidings_protocol::{InputRequired, ItemId, Json, Payload, PendingInput, TaskSnapshot};

use crate::config::BusConfig;
use crate::publish::error::PublishError;
use crate::publish::prepared::Prepared;
use crate::tasks::schema::Unfit;

/// The reason why a bus without a [`SchemaCheck`](crate::SchemaCheck) takes no question with a schema.
const NO_CHECKER: &str = "this program has no checker of JSON Schemas: set `BusConfig::schemas`, \
                          or ask with `choices`";

/// Returns the error of an answer to a question that is not open.
pub(crate) fn ended(state: &TaskSnapshot, input_id: &ItemId) -> PublishError {
    let mut ended = state.ended_inputs.iter().rev();
    match ended.find(|input| input.input_id == *input_id) {
        Some(ended) => PublishError::QuestionEnded {
            input_id: input_id.clone(),
            by: ended.by.clone(),
        },
        None if state.status.is_terminal() => PublishError::QuestionDropped {
            input_id: input_id.clone(),
        },
        None => PublishError::NoQuestion {
            input_id: input_id.clone(),
        },
    }
}

fn unfit(question: &PendingInput, reason: Unfit) -> PublishError {
    PublishError::UnfitAnswer {
        input_id: question.input_id.clone(),
        reason,
    }
}

/// Checks that a new question's schema can be used, and allows its choices. A node without a checker leaves the check
/// of the answers to the nodes that have one.
pub(crate) fn check_schema(config: &BusConfig, payload: &Payload) -> Result<(), PublishError> {
    let Payload::InputRequired(InputRequired {
        schema: Some(schema),
        choices,
        ..
    }) = payload
    else {
        return Ok(());
    };
    match &config.schemas {
        Some(schemas) => schemas
            .check_schema(schema, choices.as_deref().unwrap_or_default())
            .map_err(PublishError::Schema),
        None if config.broker.is_some() => Ok(()),
        None => Err(PublishError::Schema(Unfit::new(NO_CHECKER))),
    }
}

/// Checks that an answer is not null, and one of the choices.
fn check_choice(question: &PendingInput, value: &Json) -> Result<(), PublishError> {
    if value.as_str() == "null" {
        // In a state, null means that the value was too large to be kept.
        return Err(unfit(question, Unfit::new("null is no answer")));
    }
    if question.offers(value) {
        return Ok(());
    }
    let choices = question.choices.iter().flatten();
    let choices: Vec<_> = choices.map(Json::as_str).collect();
    let text = format!("it is none of the choices: {}", choices.join(", "));
    Err(unfit(question, Unfit::new(text)))
}

pub(crate) fn check_value(
    config: &BusConfig,
    question: &PendingInput,
    value: &Json,
) -> Result<(), PublishError> {
    check_choice(question, value)?;
    let Some(schema) = &question.schema else {
        return Ok(());
    };
    let checked = match &config.schemas {
        Some(schemas) => schemas.check(schema, value),
        None => Err(Unfit::new(NO_CHECKER)),
    };
    checked.map_err(|reason| unfit(question, reason))
}

/// Decides whether a task's state allows an event that ends a question. An answer must fit an
/// open question, no matter who publishes it.
pub(crate) fn check_question(
    config: &BusConfig,
    state: &TaskSnapshot,
    prepared: &Prepared,
) -> Result<(), PublishError> {
    let (input_id, value) = match &prepared.payload {
        Payload::InputProvided(input) => (&input.input_id, Some(&input.value)),
        Payload::InputExpired(input) => (&input.input_id, None),
        _ => return Ok(()),
    };
    let mut inputs = state.pending_inputs.iter();
    let open = inputs.find(|input| input.input_id == *input_id);
    let open = open.ok_or_else(|| ended(state, input_id))?;
    let known = prepared.question.as_deref();
    if known.is_some_and(|known| known != open) {
        return Err(PublishError::QuestionChanged {
            input_id: input_id.clone(),
        });
    }
    let Some(value) = value else { return Ok(()) };
    if open.expires_at.is_some_and(|at| at <= config.clock.now()) {
        return Err(PublishError::QuestionEnded {
            input_id: input_id.clone(),
            by: None,
        });
    }
    match known {
        // The value was checked against this question.
        Some(_) => Ok(()),
        None => check_value(config, open, value),
    }
}
