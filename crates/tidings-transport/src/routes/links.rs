//! Answer links: a signed address with which a person answers one question.
//!
//! The link allows its reader to answer its question without a token, once and until the link
//! expires. Mail programs and chats open the links that they see. So opening a link only shows a
//! page, and the form on the page answers.

mod page;
mod token;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tidings_bus::{AnswerError, PublishError};
use tidings_connections::{Access, Permission, Signer};
use tidings_protocol::{ErrorCode, Json, PendingInput, Timestamp};

use self::page::Shown;
use self::token::Link;
use super::events::parse_json;
use crate::body::{Body, json};
use crate::problem::Problem;
use crate::query;
use crate::service::{BoxError, Core, PeerAddr};

/// The default time until a link expires: 7 days.
const DEFAULT_EXPIRES_IN_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// The most characters in the name of the person.
const MAX_NAME_CHARS: usize = 100;

#[derive(Deserialize)]
struct Wanted {
    /// The name of the person who will answer. The answer is recorded under this name.
    r#for: String,
    expires_in_ms: Option<u64>,
}

#[derive(Serialize)]
struct Made {
    /// The path of the link, to append to the server's public address.
    path: String,
    expires_at: Timestamp,
}

impl Wanted {
    fn check(&self) -> Result<(), Problem> {
        let name = &self.r#for;
        let short = name.chars().nth(MAX_NAME_CHARS).is_none();
        if name.trim().is_empty() || !short || name.chars().any(char::is_control) {
            return Err(Problem::bad_request(
                "`for` must be 1 to 100 characters, none of them a control character",
            ));
        }
        let most = tidings_protocol::MAX_EXPIRES_IN_MS;
        match self.expires_in_ms {
            Some(ms) if !(1..=most).contains(&ms) => Err(Problem::bad_request(format!(
                "`expires_in_ms` must be 1 to {most} milliseconds"
            ))),
            _ => Ok(()),
        }
    }
}

impl Core {
    fn signer(&self) -> Result<&dyn Signer, Problem> {
        let signer = self.config.link_signer.as_deref();
        signer.ok_or_else(|| {
            Problem::plain(
                StatusCode::NOT_FOUND,
                "this server makes no answer links; it does with --answer-link-key",
            )
        })
    }

    fn now(&self) -> Timestamp {
        self.manager.bus().config().clock.now()
    }

    /// Makes a link to an open question. The client must have the permission to answer the
    /// question.
    pub(crate) async fn make_link<B>(
        &self,
        request: Request<B>,
        (task, input): (&str, &str),
        access: &Access,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let task_id = query::task_id(task)?;
        access.check(Permission::Answer, &task_id)?;
        let input_id = query::item_id(input)?;
        let signer = self.signer()?;
        let bytes = self.read_body(request, access).await?;
        let wanted: Wanted = parse_json(&bytes, ErrorCode::InvalidMessage)?;
        wanted.check()?;
        let question = self.manager.bus().question(&task_id, &input_id).await?;
        let until = self
            .now()
            .plus_millis(wanted.expires_in_ms.unwrap_or(DEFAULT_EXPIRES_IN_MS));
        let expires_at = question.expires_at.map_or(until, |at| at.min(until));
        let by = match access.subject() {
            Some(maker) => format!("{} (by a link of {maker})", wanted.r#for),
            None => wanted.r#for,
        };
        let link = Link {
            task_id,
            input_id,
            asked_at: question.requested_at,
            expires_at,
            by,
        };
        let path = format!("/answer/{}", link.seal(signer));
        Ok(json(StatusCode::CREATED, &Made { path, expires_at }))
    }

    /// Reads a link. A link that this server did not sign counts as a failed request of the
    /// client's address.
    fn open_link(
        &self,
        token: &str,
        addr: Option<SocketAddr>,
    ) -> Result<Link, Box<Response<Body>>> {
        let signer = self.signer().map_err(|_| Box::new(page::no_link()))?;
        match Link::open(token, signer) {
            Some(link) if link.expires_at > self.now() => Ok(link),
            Some(_) => Err(Box::new(page::over("This link has expired."))),
            None => match self.manager.note_failure(addr) {
                Ok(()) => Err(Box::new(page::no_link())),
                Err(limited) => Err(Box::new(Problem::from(limited).into_response())),
            },
        }
    }

    /// Returns the question that a link was made for. A later question with the same id is not
    /// returned.
    async fn question_of(&self, link: &Link) -> Result<PendingInput, Box<Response<Body>>> {
        let bus = self.manager.bus();
        match bus.question(&link.task_id, &link.input_id).await {
            Ok(question) if question.requested_at == link.asked_at => Ok(question),
            Ok(_) => {
                let why = "This question was asked anew since.";
                Err(Box::new(page::over(why)))
            }
            Err(error) => Err(Box::new(refused(&error))),
        }
    }

    /// Shows the question of a link. This does not answer it.
    pub(crate) async fn show_link(
        &self,
        token: &str,
        addr: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem> {
        let shown = match self.open_link(token, addr) {
            Ok(link) => match self.question_of(&link).await {
                Ok(question) => page::ask(&Shown::new(&link, &question, None)),
                Err(answer) => *answer,
            },
            Err(answer) => *answer,
        };
        Ok(shown)
    }

    /// Answers the question of a link with the content of the form.
    pub(crate) async fn answer_link<B>(
        &self,
        request: Request<B>,
        token: &str,
        addr: Option<SocketAddr>,
    ) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let link = match self.open_link(token, addr) {
            Ok(link) => link,
            Err(answer) => return Ok(*answer),
        };
        let access = Access::unrestricted();
        let addr = request.extensions().get().map(|PeerAddr(addr)| *addr);
        let form = self.read_body(request, &access).await?;
        let question = match self.question_of(&link).await {
            Ok(question) => question,
            Err(answer) => return Ok(*answer),
        };
        let value = match value_of(&form) {
            Ok(value) => value,
            Err(what) => {
                return Ok(page::ask(&Shown::new(&link, &question, Some(what))));
            }
        };
        let account = self.manager.account(&access, addr);
        let bus = self.manager.bus();
        let answered = bus
            .answer_for(&account, &link.task_id, &link.input_id, &value, &link.by)
            .await;
        Ok(match answered {
            Ok(_) => page::done(),
            Err(AnswerError::Publish(PublishError::UnfitAnswer { reason, .. })) => {
                page::ask(&Shown::new(&link, &question, Some(&reason.to_string())))
            }
            Err(error) => refused(&error),
        })
    }
}

/// Reads the answer from a form: `value` is JSON, `text` is text.
fn value_of(form: &[u8]) -> Result<Json, &'static str> {
    for (name, value) in form_urlencoded::parse(form) {
        let value = match &*name {
            "value" => Json::parse(&value).map_err(|_| "This is no JSON."),
            "text" => Json::from_serialize(&value).map_err(|_| "This is no text."),
            _ => continue,
        };
        return value.and_then(|value| match value.as_str() {
            "null" => Err("An answer is missing."),
            _ => Ok(value),
        });
    }
    Err("An answer is missing.")
}

fn refused(error: &AnswerError) -> Response<Body> {
    match error {
        AnswerError::Publish(PublishError::QuestionEnded { by: Some(by), .. }) => {
            page::over(&format!("{by} has answered this question already."))
        }
        AnswerError::Publish(PublishError::QuestionEnded { by: None, .. }) => {
            page::over("Nobody has answered this question in time.")
        }
        AnswerError::Publish(PublishError::QuestionChanged { .. }) => {
            page::over("This question was asked anew since.")
        }
        AnswerError::NoTask(_)
        | AnswerError::Publish(
            PublishError::QuestionDropped { .. } | PublishError::NoQuestion { .. },
        ) => page::over("Nobody waits for an answer to this question any more."),
        _ => page::unavailable(),
    }
}
