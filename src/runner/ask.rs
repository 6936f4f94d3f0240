//! One HTTP request to a node, for health and roles. Clients of workloads have their own, stricter code.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper_util::rt::TokioIo;
use schism_workloads::Dialer;

use crate::system::HttpSetup;

/// A longer answer is no answer to a question about health.
const BODY_LEN_MAX: usize = 1 << 20;

/// Sends the request to the node called `node` over a connection of its own; gives the status and the body.
///
/// # Errors
/// Why there is no answer, as a clause.
pub async fn ask(dialer: &dyn Dialer, node: &str, http: &HttpSetup) -> Result<(u16, Vec<u8>), String> {
    let timeout: Duration = http.timeout.0;
    match tokio::time::timeout(timeout, exchange(dialer, node, http)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", http.timeout)),
    }
}

async fn exchange(dialer: &dyn Dialer, node: &str, http: &HttpSetup) -> Result<(u16, Vec<u8>), String> {
    let stream = dialer
        .dial(node, http.port)
        .await
        .map_err(|error| format!("connecting to port {}: {error}", http.port))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("opening HTTP: {error}"))?;
    // Ends with the sender; what goes wrong on it shows in the request's own result.
    let driver = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(http.method.as_str())
        .uri(&http.path)
        .header("host", format!("{node}:{}", http.port));
    for (name, value) in &http.headers {
        request = request.header(name, value);
    }
    let body = Full::new(Bytes::from(http.body.clone().unwrap_or_default()));
    let request = request.body(body).map_err(|error| format!("the request itself: {error}"))?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| format!("{} {}: {error}", http.method.as_str(), http.path))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_LEN_MAX)
            .collect()
            .await
            .map_err(|error| format!("reading the answer: {error}"))?;
        Ok((status, body.to_bytes().to_vec()))
    }
    .await;
    driver.abort();
    answer
}
