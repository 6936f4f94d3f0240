//! The client of the demo system: a register over HTTP, reads and writes only.

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{HttpConnection, HttpError, HttpResponse, path_segment};
use super::{BoxFuture, Client, Connector, Outcome, Target, key_text};
use crate::op::Op;

/// Makes clients of the demo system.
pub struct DemoConnector;

impl Connector for DemoConnector {
    fn client(&self, target: Target) -> Box<dyn Client> {
        Box::new(Demo { http: HttpConnection::new(target) })
    }
}

struct Demo {
    http: HttpConnection,
}

/// The answer to a read.
#[derive(Deserialize)]
struct Read {
    value: Value,
}

/// The answer to anything that went wrong.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    /// Whether the operation certainly has no effect.
    definite: bool,
}

impl Client for Demo {
    fn invoke<'a>(&'a mut self, op: &'a Op) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let path = format!("/register/{}", path_segment(&key_text(op)));
            match &*op.f {
                "read" => read(self.http.request(Method::GET, &path, "").await),
                "write" => {
                    let body = json!({ "value": op.value }).to_string();
                    write(op, self.http.request(Method::PUT, &path, body).await)
                }
                other => Outcome::Fail(format!("never sent: the demo system has no operation `{other}`")),
            }
        })
    }
}

/// A read changes nothing: one whose outcome is unknown may count as failed.
fn read(answer: Result<HttpResponse, HttpError>) -> Outcome {
    match answer {
        Ok(response) if response.status == 200 => match serde_json::from_slice::<Read>(&response.body) {
            Ok(Read { value }) => Outcome::Ok(value),
            Err(error) => Outcome::Fail(format!("cannot understand the answer: {error}")),
        },
        Ok(response) => Outcome::Fail(refusal(&response).error),
        Err(error) => Outcome::Fail(error.reason),
    }
}

fn write(op: &Op, answer: Result<HttpResponse, HttpError>) -> Outcome {
    match answer {
        Ok(response) if response.status == 200 => Outcome::Ok(op.value.clone()),
        Ok(response) => match refusal(&response) {
            Refusal { error, definite: true } => Outcome::Fail(error),
            Refusal { error, definite: false } => Outcome::Info(error),
        },
        Err(HttpError { maybe_sent: false, reason }) => Outcome::Fail(reason),
        Err(HttpError { maybe_sent: true, reason }) => Outcome::Info(reason),
    }
}

fn refusal(response: &HttpResponse) -> Refusal {
    serde_json::from_slice(&response.body).unwrap_or_else(|_| Refusal {
        error: format!("HTTP status {} without an explanation", response.status),
        definite: false,
    })
}
