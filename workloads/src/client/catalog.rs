//! Which clients there are.

use std::sync::Arc;

use super::Connector;
use super::demo::DemoConnector;
use super::etcd::{EtcdConnector, Reads};

/// What a client can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// Its name in a system's description.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// The operations it supports.
    pub operations: &'static [&'static str],
    /// The consistencies that reads can ask for, the default first. Empty: there is no choice.
    pub reads: &'static [&'static str],
}

/// Why there is no such client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Nobody knows the name.
    #[error("there is no client `{0}`; there are {names}", names = names().join(", "))]
    UnknownClient(String),
    /// The client's reads are not to be had like that.
    #[error("client `{client}` has no reads called `{reads}`; {offer}")]
    UnknownReads {
        /// The client.
        client: &'static str,
        /// What was asked for.
        reads: String,
        /// What there is, as a clause.
        offer: String,
    },
}

/// Every client.
pub fn catalog() -> &'static [ClientInfo] {
    &[
        ClientInfo {
            name: "demo",
            description: "the built-in demo system, over HTTP",
            operations: &["read", "write"],
            reads: &[],
        },
        ClientInfo {
            name: "etcd",
            description: "etcd 3.4 and later, through the JSON gateway of its v3 API",
            operations: &["read", "write", "cas"],
            reads: &["linearizable", "serializable"],
        },
    ]
}

fn names() -> Vec<&'static str> {
    catalog().iter().map(|info| info.name).collect()
}

/// What the client called `name` can do.
///
/// # Errors
/// There is no such client.
pub fn client_info(name: &str) -> Result<&'static ClientInfo, CatalogError> {
    catalog()
        .iter()
        .find(|info| info.name == name)
        .ok_or_else(|| CatalogError::UnknownClient(name.to_owned()))
}

/// Makes clients of the kind called `name`, whose reads ask for the consistency called `reads` (absent: the default).
///
/// # Errors
/// There is no such client, or it has no such reads.
pub fn connector(name: &str, reads: Option<&str>) -> Result<Arc<dyn Connector>, CatalogError> {
    let info = client_info(name)?;
    if let Some(reads) = reads.filter(|reads| !info.reads.contains(reads)) {
        let offer = match info.reads {
            [] => "it has one kind of read only, so leave `reads` out".to_owned(),
            offered => format!("it has {}", offered.join(", ")),
        };
        return Err(CatalogError::UnknownReads { client: info.name, reads: reads.to_owned(), offer });
    }
    match (info.name, reads) {
        ("demo", _) => Ok(Arc::new(DemoConnector)),
        ("etcd", Some("serializable")) => Ok(Arc::new(EtcdConnector { reads: Reads::Serializable })),
        ("etcd", _) => Ok(Arc::new(EtcdConnector { reads: Reads::Linearizable })),
        (other, _) => Err(CatalogError::UnknownClient(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_the_catalog_can_be_made() {
        for info in catalog() {
            assert!(connector(info.name, None).is_ok(), "{}", info.name);
            for reads in info.reads {
                assert!(connector(info.name, Some(reads)).is_ok(), "{} {reads}", info.name);
            }
            assert!(connector(info.name, Some("eventual")).is_err(), "{}", info.name);
        }
    }

    #[test]
    fn says_what_there_is_instead() {
        let error = |name, reads| connector(name, reads).err().map(|error| error.to_string());
        assert_eq!(error("etcdd", None).unwrap(), "there is no client `etcdd`; there are demo, etcd");
        assert_eq!(
            error("etcd", Some("stale")).unwrap(),
            "client `etcd` has no reads called `stale`; it has linearizable, serializable"
        );
        assert!(error("demo", Some("stale")).unwrap().ends_with("leave `reads` out"));
    }
}
