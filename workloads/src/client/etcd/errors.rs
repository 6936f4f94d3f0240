//! Which of etcd's errors are certain to mean that an operation has no effect.
//!
//! From the sources of etcd 3.4.23 and 3.5.33 (`v3rpc/rpctypes/error.go` for the texts, `v3_server.go`
//! `processInternalRaftRequestOnce` for where they come from). Whatever is not listed is not certain.

use serde::Deserialize;

/// An error's text, whether it is definite, and why.
struct Known {
    message: &'static str,
    definite: bool,
    #[expect(dead_code, reason = "the table is for people, too")]
    why: &'static str,
}

const fn known(message: &'static str, definite: bool, why: &'static str) -> Known {
    Known { message, definite, why }
}

const TABLE: [Known; 21] = [
    known("etcdserver: key is not provided", true, "the request is checked before it is proposed"),
    known(
        "etcdserver: too many operations in txn request",
        true,
        "the request is checked before it is proposed",
    ),
    known(
        "etcdserver: duplicate key given in txn request",
        true,
        "the request is checked before it is proposed",
    ),
    known("etcdserver: request is too large", true, "the size is checked before it is proposed"),
    known("etcdserver: too many requests", true, "refused before it is proposed, while applying lags behind"),
    known("etcdserver: not capable", true, "the interceptor refuses it before the handler"),
    known("etcdserver: rpc not supported for learner", true, "the interceptor refuses it before the handler"),
    known(
        "etcdserver: no leader",
        true,
        "for writes only the interceptor says so, before the handler, and only if asked to require a leader",
    ),
    known("etcdserver: user name is empty", true, "authentication comes before the proposal"),
    known("etcdserver: invalid auth token", true, "authentication comes before the proposal"),
    known(
        "etcdserver: permission denied",
        true,
        "checked before the proposal, and again before it is applied",
    ),
    known(
        "raft proposal dropped",
        true,
        "this node's raft refused to append or to forward it; one dropped by the leader after forwarding times out",
    ),
    known(
        "etcdserver: mvcc: database space exceeded",
        false,
        "the quota applier says so after it has applied the write that exceeds the quota",
    ),
    known("etcdserver: request timed out", false, "the proposal is in flight"),
    known(
        "etcdserver: request timed out, possibly due to previous leader failure",
        false,
        "the proposal is in flight",
    ),
    known(
        "etcdserver: request timed out, possibly due to connection lost",
        false,
        "the proposal is in flight",
    ),
    known("etcdserver: leader changed", false, "for reads only; never rely on it for writes"),
    known("etcdserver: server stopped", false, "comes after the proposal as well as before"),
    known("etcdserver: request canceled", false, "comes after the proposal as well as before"),
    known("etcdserver: context deadline exceeded", false, "comes after the proposal as well as before"),
    known("etcdserver: unhealthy cluster", false, "says nothing about the request"),
];

/// Whether the error means that the operation certainly did not and will not happen.
pub(super) fn is_definite(message: &str) -> bool {
    TABLE.iter().any(|known| known.definite && known.message == message)
}

/// The gateway's error, whose text is `message` in newer and `error` in older versions.
#[derive(Deserialize)]
struct GatewayError {
    message: Option<String>,
    error: Option<String>,
}

/// What an answer other than 200 says.
pub(super) fn message(status: u16, body: &[u8]) -> String {
    let said = serde_json::from_slice::<GatewayError>(body).ok();
    said.and_then(|said| said.message.or(said.error))
        .unwrap_or_else(|| format!("HTTP status {status} without an explanation"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_errors_are_definite() {
        assert!(is_definite("etcdserver: too many requests"));
        assert!(is_definite("raft proposal dropped"));
        for message in [
            "etcdserver: request timed out",
            "etcdserver: mvcc: database space exceeded",
            "etcdserver: something new",
            "etcdserver: too many requests, or so",
            "",
        ] {
            assert!(!is_definite(message), "{message}");
        }
    }

    #[test]
    fn reads_the_errors_of_both_versions() {
        for body in [
            r#"{"error":"etcdserver: request timed out","code":14}"#,
            r#"{"error":"etcdserver: request timed out","message":"etcdserver: request timed out","code":14}"#,
            r#"{"code":14,"message":"etcdserver: request timed out","details":[]}"#,
        ] {
            assert_eq!(message(503, body.as_bytes()), "etcdserver: request timed out");
        }
        assert_eq!(message(404, b"Not Found"), "HTTP status 404 without an explanation");
    }
}
