//! The client of etcd, through the JSON gateway of its v3 API (3.4 and later).
//!
//! The gateway takes keys and values as base64, gives 64-bit integers as strings and leaves out fields that are zero or
//! false. A register is one key; its value is JSON text.

mod errors;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{HttpConnection, HttpError, HttpResponse};
use super::{BoxFuture, Client, Connector, Outcome, Target, key_text};
use crate::op::Op;

/// Keys are under this prefix, so that they never meet those of anybody else.
const PREFIX: &str = "schism/register/";

/// What reads ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// Through the leader: as if there were one copy.
    #[default]
    Linearizable,
    /// From the node's own copy, however old.
    Serializable,
}

/// Makes clients of etcd.
pub struct EtcdConnector {
    /// What reads ask for.
    pub reads: Reads,
}

impl Connector for EtcdConnector {
    fn client(&self, target: Target) -> Box<dyn Client> {
        Box::new(Etcd { http: HttpConnection::new(target), reads: self.reads })
    }
}

struct Etcd {
    http: HttpConnection,
    reads: Reads,
}

/// There is no answer to the question asked.
struct Trouble {
    reason: String,
    /// Whether the operation certainly has no effect.
    definite: bool,
}

impl Trouble {
    fn outcome(self) -> Outcome {
        if self.definite { Outcome::Fail(self.reason) } else { Outcome::Info(self.reason) }
    }
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Txn {
    #[serde(default)]
    succeeded: bool,
}

impl Client for Etcd {
    fn invoke<'a>(&'a mut self, op: &'a Op) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let key = BASE64.encode(format!("{PREFIX}{}", key_text(op)));
            match &*op.f {
                "read" => self.read(&key).await,
                "write" => self.write(&key, op).await,
                "cas" => self.cas(&key, op).await,
                other => Outcome::Fail(format!("never sent: the etcd client has no operation `{other}`")),
            }
        })
    }
}

impl Etcd {
    async fn read(&mut self, key: &str) -> Outcome {
        let mut request = json!({ "key": key });
        if self.reads == Reads::Serializable {
            request["serializable"] = Value::Bool(true);
        }
        // A read changes nothing: one whose outcome is unknown may count as failed.
        match self.call::<Range>("/v3/kv/range", &request).await {
            Ok(range) => match range.kvs.first() {
                None => Outcome::Ok(Value::Null),
                Some(pair) => decode(&pair.value).map_or_else(Outcome::Fail, Outcome::Ok),
            },
            Err(trouble) => Outcome::Fail(trouble.reason),
        }
    }

    async fn write(&mut self, key: &str, op: &Op) -> Outcome {
        let request = json!({ "key": key, "value": encode(&op.value) });
        match self.call::<Value>("/v3/kv/put", &request).await {
            Ok(_) => Outcome::Ok(op.value.clone()),
            Err(trouble) => trouble.outcome(),
        }
    }

    async fn cas(&mut self, key: &str, op: &Op) -> Outcome {
        let Some([expected, new]) = op.value.as_array().map(Vec::as_slice) else {
            return Outcome::Fail("never sent: the value of a cas is [expected, new]".to_owned());
        };
        let compare = match expected {
            // Null is the value of a key that does not exist.
            Value::Null => {
                json!({ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" })
            }
            expected => {
                json!({ "key": key, "target": "VALUE", "result": "EQUAL", "value": encode(expected) })
            }
        };
        let request = json!({
            "compare": [compare],
            "success": [{ "request_put": { "key": key, "value": encode(new) } }],
        });
        match self.call::<Txn>("/v3/kv/txn", &request).await {
            Ok(Txn { succeeded: true }) => Outcome::Ok(op.value.clone()),
            Ok(Txn { succeeded: false }) => Outcome::Fail("the value was another".to_owned()),
            Err(trouble) => trouble.outcome(),
        }
    }

    async fn call<T: for<'de> Deserialize<'de>>(
        &mut self,
        path: &str,
        request: &Value,
    ) -> Result<T, Trouble> {
        let answer = self.http.request(Method::POST, path, request.to_string()).await;
        let HttpResponse { status, body } =
            answer.map_err(|HttpError { maybe_sent, reason }| Trouble { reason, definite: !maybe_sent })?;
        if status != 200 {
            let reason = errors::message(status, &body);
            return Err(Trouble { definite: errors::is_definite(&reason), reason });
        }
        serde_json::from_slice(&body).map_err(|error| Trouble {
            reason: format!("cannot understand the answer: {error}"),
            definite: false,
        })
    }
}

fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

fn decode(text: &str) -> Result<Value, String> {
    let bytes = BASE64.decode(text).map_err(|error| format!("the value is not base64: {error}"))?;
    // Whatever somebody else put there is a value, too.
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()))
}
