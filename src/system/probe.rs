//! Judges what a node answered to a probe.
//!
//! The request is in [`HttpSetup`]; whoever can reach the node sends it and hands the answer over.

use serde_json::Value;
use tera::Context;

use super::setup::{HttpSetup, LeaderSetup};
use super::template;

/// A body is quoted in a reason up to here.
const QUOTE_LEN_MAX: usize = 200;

impl HttpSetup {
    /// Whether this answer means yes.
    ///
    /// # Errors
    /// Why it does not, as a clause a person can read.
    pub fn holds(&self, status: u16, body: &[u8]) -> Result<(), String> {
        if status != self.status {
            return Err(format!("status {status}, not {}: {}", self.status, quote(body)));
        }
        let Some(when) = &self.when else { return Ok(()) };
        match template::condition(when, &answer(status, body)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("`{when}` does not hold: {}", quote(body))),
            Err(error) => Err(format!("`{when}` does not hold ({error}): {}", quote(body))),
        }
    }
}

impl LeaderSetup {
    /// The term in which the node that answered leads; `None` when it does not lead.
    ///
    /// # Errors
    /// It leads, but its term is no whole number: the system's description does not fit its version.
    pub fn leads(&self, status: u16, body: &[u8]) -> Result<Option<u64>, String> {
        if self.http.holds(status, body).is_err() {
            return Ok(None);
        }
        let Some(term) = &self.term else { return Ok(Some(0)) };
        let text = template::expression(term, &answer(status, body)).map_err(|error| {
            format!("the leader's term `{term}` cannot be told ({error}): {}", quote(body))
        })?;
        let number = text.trim().parse();
        number.map(Some).map_err(|_| format!("the leader's term `{term}` is `{text}`, not a whole number"))
    }
}

fn answer(status: u16, body: &[u8]) -> Context {
    let body = serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()));
    let mut context = Context::new();
    context.insert("status", &status);
    context.insert("body", &body);
    context
}

fn quote(body: &[u8]) -> String {
    if body.is_empty() {
        return "no body".to_owned();
    }
    let text = String::from_utf8_lossy(body);
    let mut quoted: String =
        text.chars().take(QUOTE_LEN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(QUOTE_LEN_MAX).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use schism_units::Span;

    use super::super::def::Method;
    use super::*;

    fn http(when: Option<&str>) -> HttpSetup {
        HttpSetup {
            method: Method::Get,
            port: 1,
            path: "/".to_owned(),
            headers: Default::default(),
            body: None,
            timeout: Span::seconds(1),
            status: 200,
            when: when.map(str::to_owned),
        }
    }

    #[test]
    fn status_and_expression_must_both_hold() {
        let healthy = http(Some("body.health == \"true\""));
        assert_eq!(healthy.holds(200, br#"{"health":"true"}"#), Ok(()));
        for (status, body, part) in [
            (503, br#"{"health":"true"}"#.as_slice(), "status 503, not 200"),
            (200, br#"{"health":"false"}"#, "does not hold: {\"health\":\"false\"}"),
            (200, br#"{}"#, "does not hold"),
            (200, b"true", "does not hold"),
            (200, b"\xff\xfe\x1b[31m", "does not hold"),
            (200, b"", "no body"),
        ] {
            let reason = healthy.holds(status, body).unwrap_err();
            assert!(reason.contains(part), "{reason}");
            assert!(!reason.contains('\u{1b}'), "{reason:?}");
        }
        assert_eq!(http(None).holds(200, b"whatever"), Ok(()));
        assert_eq!(http(Some("status < 300 and body == 'imok'")).holds(200, b"imok"), Ok(()));
        let long = http(Some("false")).holds(200, "é".repeat(5000).as_bytes()).unwrap_err();
        assert!(long.chars().count() < 300 && long.ends_with('…'), "{long}");
    }

    /// Answers recorded from etcd 3.4.23.
    #[test]
    fn etcd_is_understood() {
        let def = crate::system::load("etcd", std::path::Path::new("")).unwrap().def;
        let nodes = crate::plan::local_nodes(1);
        let (settings, binaries) = (def.settings(&Default::default()).unwrap(), def.binary_names());
        let context =
            crate::system::NodeContext { nodes: &nodes, index: 0, settings: &settings, binaries: &binaries };
        let setup = crate::system::render(&def, context).unwrap();
        assert_eq!(setup.health.http.holds(200, br#"{"health":"true"}"#), Ok(()));
        assert!(setup.health.http.holds(503, br#"{"health":"false"}"#).is_err());
        let leader = setup.leader.unwrap();
        let answer = br#"{"header":{"cluster_id":"6794051343243898426","member_id":"17280080068435574613","revision":"1",
            "raft_term":"2"},"version":"3.4.23","dbSize":"20480","leader":"17280080068435574613","raftIndex":"5",
            "raftTerm":"2","raftAppliedIndex":"5","dbSizeInUse":"16384"}"#;
        assert_eq!(leader.leads(200, answer), Ok(Some(2)));
        let text = String::from_utf8_lossy(answer);
        let follower =
            text.replace(r#""leader":"17280080068435574613""#, r#""leader":"17280080068435574614""#);
        assert_eq!(leader.leads(200, follower.as_bytes()), Ok(None));
        let leaderless = text.replace(r#""leader":"17280080068435574613","#, "");
        assert_eq!(leader.leads(200, leaderless.as_bytes()), Ok(None));
    }

    #[test]
    fn a_leader_has_a_term() {
        let role = |term: Option<&str>| LeaderSetup {
            http: http(Some("body.header.member_id == body.leader")),
            term: term.map(str::to_owned),
        };
        let leader = br#"{"header":{"member_id":"7"},"leader":"7","raftTerm":"18446744073709551615"}"#;
        assert_eq!(role(Some("body.raftTerm")).leads(200, leader), Ok(Some(u64::MAX)));
        assert_eq!(role(None).leads(200, leader), Ok(Some(0)));
        let follower = br#"{"header":{"member_id":"7"},"leader":"8","raftTerm":"3"}"#;
        assert_eq!(role(Some("body.raftTerm")).leads(200, follower), Ok(None));
        let leaderless = br#"{"header":{"member_id":"7"},"raftTerm":"3"}"#;
        assert_eq!(role(Some("body.raftTerm")).leads(200, leaderless), Ok(None));
        assert!(role(Some("body.nothing")).leads(200, leader).unwrap_err().contains("body.nothing"));
        assert!(role(Some("body.header")).leads(200, leader).unwrap_err().contains("not a whole number"));
    }
}
