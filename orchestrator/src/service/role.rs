//! What a key allows: the contract's four roles.

use serde::{Deserialize, Serialize};

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An app's back end: any contributor, nothing of the operator's.
    Submitter,
    /// One contributor: reads, consents and withdraws for itself.
    Contributor,
    /// Steers the node.
    Operator,
    /// Reads everything, changes nothing.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Submitter, Self::Contributor, Self::Operator, Self::Auditor];

    /// The contract's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitter => "submitter",
            Self::Contributor => "contributor",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The contract's word, read.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key's public part; `open` where no key is needed.
    pub key: String,
    /// What the key allows; none on an open node: everything.
    pub role: Option<Role>,
    /// The person a contributor's key belongs to.
    pub contributor: Option<String>,
}

impl Caller {
    /// Whoever calls a node without keys, which listens on loopback only.
    #[must_use]
    pub fn open() -> Self {
        Self { key: "open".to_owned(), role: None, contributor: None }
    }

    /// Whether what is of one person concerns this caller.
    #[must_use]
    pub fn may_see(&self, contributor: &str) -> bool {
        match self.role {
            Some(Role::Contributor) => self.contributor.as_deref() == Some(contributor),
            Some(Role::Submitter | Role::Operator | Role::Auditor) | None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contributor_sees_itself_alone_and_the_others_everyone() {
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
            let contributor = (role == Role::Contributor).then(|| "ana".to_owned());
            let caller = Caller { key: "k".to_owned(), role: Some(role), contributor };
            assert!(caller.may_see("ana"));
            assert_eq!(caller.may_see("bob"), role != Role::Contributor);
        }
        assert_eq!(Role::parse("root"), None);
        assert!(Caller::open().may_see("ana"));
    }
}
