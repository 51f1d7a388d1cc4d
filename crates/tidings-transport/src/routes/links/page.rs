//! The pages of an answer link: plain HTML without a script.

use std::fmt::Write as _;

use http::{HeaderValue, Response, StatusCode, header};
use tidings_protocol::{Json, PendingInput};

use super::token::Link;
use crate::body::{Body, full};

/// The style of the pages. The policy below contains its hash, and a test compares them.
const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;\
padding:0 1rem;color-scheme:light dark}\
.prompt{white-space:pre-wrap;font-size:1.25rem}\
.error{color:#c22}\
button,input,textarea{font:inherit;padding:.5rem 1rem;margin:.25rem .5rem .25rem 0}\
textarea{width:100%;box-sizing:border-box;min-height:6rem}";

const POLICY: &str = "default-src 'none'; \
style-src 'sha256-WGpJYlQJ/PE4vHKQK0kmN7jELxAwm8PEuEaX9GfrEg4='; \
form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The content of a page with a form.
pub(super) struct Shown<'a> {
    link: &'a Link,
    question: &'a PendingInput,
    /// The error in the previous answer, if there was one.
    wrong: Option<&'a str>,
}

impl<'a> Shown<'a> {
    pub(super) fn new(link: &'a Link, question: &'a PendingInput, wrong: Option<&'a str>) -> Self {
        Self {
            link,
            question,
            wrong,
        }
    }
}

/// Escapes text for HTML, including attribute values in quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

fn html(status: StatusCode, title: &str, body: &str) -> Response<Body> {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    );
    let mut response = Response::new(full(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns the page with the question. Its status is 200, or 422 if the previous answer was wrong.
pub(super) fn ask(shown: &Shown<'_>) -> Response<Body> {
    let Shown {
        link,
        question,
        wrong,
    } = shown;
    let mut body = format!(
        "<p>The task <b>{}</b> asks:</p><p class=\"prompt\">{}</p>",
        escaped(link.task_id.as_str()),
        escaped(&question.prompt)
    );
    if let Some(wrong) = wrong {
        let _ = write!(body, "<p class=\"error\">{}</p>", escaped(wrong));
    }
    let _ = write!(
        body,
        "<form method=\"post\">{}</form><p>The answer is recorded as {}\u{2019}s. It can be \
         given once.</p>",
        fields(question),
        escaped(&link.by)
    );
    let status = match wrong {
        Some(_) => StatusCode::UNPROCESSABLE_ENTITY,
        None => StatusCode::OK,
    };
    html(status, "A question", &body)
}

/// Returns the form fields that fit a question.
fn fields(question: &PendingInput) -> String {
    if let Some(choices) = &question.choices {
        return choices
            .iter()
            .map(|choice| button(choice, &label(choice)))
            .collect();
    }
    let schema = question.schema.as_ref().map(Json::to_value);
    let kind = schema.as_ref().and_then(|schema| schema.get("type"));
    let send = "<button>Answer</button>";
    match (schema.as_ref(), kind.and_then(|kind| kind.as_str())) {
        (Some(_), Some("boolean")) => "<button name=\"value\" value=\"true\">Yes</button>\
             <button name=\"value\" value=\"false\">No</button>"
            .to_owned(),
        (None, _) | (_, Some("string")) => {
            format!("<p><textarea name=\"text\" required autofocus></textarea></p>{send}")
        }
        (_, Some("number" | "integer")) => {
            format!("<p><input name=\"value\" inputmode=\"decimal\" required autofocus></p>{send}")
        }
        (Some(schema), _) => format!(
            "<p>As JSON, by this schema:</p><pre>{}</pre>\
             <p><textarea name=\"value\" required autofocus></textarea></p>{send}",
            escaped(&format!("{schema:#}"))
        ),
    }
}

fn button(value: &Json, label: &str) -> String {
    let (value, label) = (escaped(value.as_str()), escaped(label));
    format!("<button name=\"value\" value=\"{value}\">{label}</button>")
}

/// Returns a choice as readable text, without the quotes of JSON.
fn label(choice: &Json) -> String {
    let text = choice.deserialize::<String>();
    text.unwrap_or_else(|_| choice.as_str().to_owned())
}

/// Returns the page that confirms an answer.
pub(super) fn done() -> Response<Body> {
    let body = "<p class=\"prompt\">Thank you. Your answer was recorded.</p>";
    html(StatusCode::OK, "Answered", body)
}

/// Returns the page that says why the question can no longer be answered.
pub(super) fn over(why: &str) -> Response<Body> {
    let body = format!("<p class=\"prompt\">{}</p>", escaped(why));
    html(StatusCode::CONFLICT, "Nothing to answer", &body)
}

/// Returns the page for a link that is not valid.
pub(super) fn no_link() -> Response<Body> {
    let body = "<p class=\"prompt\">This link leads nowhere. Was it copied whole?</p>";
    html(StatusCode::NOT_FOUND, "No such link", body)
}

/// Returns the page that asks the person to try again, because the answer cannot be recorded now.
pub(super) fn unavailable() -> Response<Body> {
    let body = "<p class=\"prompt\">This does not work just now. Please try again in a minute.</p>";
    html(StatusCode::SERVICE_UNAVAILABLE, "Try again", body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_style() {
        use sha2::Digest as _;

        let hash = sha2::Sha256::digest(STYLE.as_bytes());
        let hash = data_encoding::BASE64.encode(&hash);
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "{hash}");
    }

    #[test]
    fn text_stays_text() {
        assert_eq!(
            escaped(r#"<script>"'&</script>"#),
            "&lt;script&gt;&quot;&#39;&amp;&lt;/script&gt;"
        );
    }
}
