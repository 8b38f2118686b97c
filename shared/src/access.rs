//! Which roles may make which call.
//!
//! One table for both services. The RPCs are an enum that is generated from the
//! proto files, and [`rule`] is a `match` over it: an RPC that is not in the
//! table does not build.

use std::{collections::HashMap, fmt, str::FromStr, sync::LazyLock};

include!(concat!(env!("OUT_DIR"), "/rpcs.rs"));

/// The RPCs that a service makes every few seconds, whatever happens. The log has them
/// at the level DEBUG when they succeed.
pub(crate) const POLLED: &[Rpc] = &[Rpc::IngestListErasures];

/// What a caller may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns the practice.
    Owner,
    /// Administers the practice.
    Admin,
    /// Works for the practice.
    Staff,
    /// Supports the practice from outside; reads only.
    Support,
    /// Reads, and sees what was before a correction.
    Auditor,
    /// The imports service itself.
    Service,
}

impl Role {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Owner, "owner"),
        (Self::Admin, "admin"),
        (Self::Staff, "staff"),
        (Self::Support, "support"),
        (Self::Auditor, "auditor"),
        (Self::Service, "service"),
    ];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(role, _)| role == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

/// The text is not a role.
#[derive(Debug, thiserror::Error)]
#[error("not a role; use owner, admin, staff, support, auditor or service")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(role, _)| *role).ok_or(UnknownRole)
    }
}

/// Which practices one call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One practice, which the credential or the call names.
    Practice,
    /// One practice, or all practices of the product when none is named.
    Product,
}

/// Who may make a call.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// One of these roles is needed.
    pub roles: &'static [Role],
    /// Which practices the call is about.
    pub scope: Scope,
}

/// Runs the practice.
const MANAGE: &[Role] = &[Role::Owner, Role::Admin];
/// Runs the practice, or is the imports service on behalf of one who does.
const MANAGE_OR_SERVICE: &[Role] = &[Role::Owner, Role::Admin, Role::Service];
/// Changes records.
const WRITE: &[Role] = &[Role::Owner, Role::Admin, Role::Staff];
/// Reads records.
const READ: &[Role] = &[Role::Owner, Role::Admin, Role::Staff, Role::Support, Role::Auditor];
/// Reads what was done.
const AUDIT: &[Role] = &[Role::Owner, Role::Admin, Role::Support, Role::Auditor];
/// Looks after those who support the practice.
const OVERSEE: &[Role] = &[Role::Owner, Role::Admin, Role::Auditor];
/// Only the imports service.
const SERVICE: &[Role] = &[Role::Service];

/// Who may make the call.
pub const fn rule(rpc: Rpc) -> Rule {
    let roles = match rpc {
        Rpc::ConnectionConnectProduct
        | Rpc::ConnectionDisconnectProduct
        | Rpc::HistoryRescindEntry
        | Rpc::ChangeDeleteSubscription
        | Rpc::SupportPurgeNow
        | Rpc::ImportCreateImport
        | Rpc::ImportUploadBatch
        | Rpc::ImportSealImport
        | Rpc::ImportCommitImport
        | Rpc::ImportRetryImport
        | Rpc::ImportCancelImport
        | Rpc::ImportDownloadFailures => MANAGE,
        Rpc::ConnectionListConnections => MANAGE_OR_SERVICE,
        Rpc::ClientCreateClient
        | Rpc::ClientUpdateClient
        | Rpc::ClientLinkClient
        | Rpc::ClientUnlinkClient
        | Rpc::PersonCreatePerson
        | Rpc::PersonUpdatePerson
        | Rpc::PersonLinkPerson
        | Rpc::PersonUnlinkPerson
        | Rpc::ContactCreateContact
        | Rpc::ContactUpdateContact
        | Rpc::ContactAddRole
        | Rpc::ContactUpdateRole
        | Rpc::ContactEndRole
        | Rpc::ContactRemoveContact
        | Rpc::HistoryAddEntry
        | Rpc::HistoryCorrectEntry
        | Rpc::HistoryAddPastEntry
        | Rpc::HistoryEndEntry
        | Rpc::HistoryCancelScheduledEntry
        | Rpc::ChangeAcknowledge => WRITE,
        Rpc::ClientGetClient
        | Rpc::ClientBatchGetClients
        | Rpc::ClientListClientLinks
        | Rpc::PersonListPersons
        | Rpc::ContactGetContact
        | Rpc::SupportSearchRecords
        | Rpc::SupportGetRecordSummary
        | Rpc::ClientListClients
        | Rpc::PersonGetPerson
        | Rpc::ContactListContacts
        | Rpc::HistoryListEntries
        | Rpc::ChangeSubscribe
        | Rpc::ChangeGetSubscription
        | Rpc::ChangeListSubscriptions
        | Rpc::SupportTraceChange
        | Rpc::ImportGetBatch
        | Rpc::ImportGetImport
        | Rpc::ImportListImports
        | Rpc::ImportWatchImport
        | Rpc::ImportListFailures
        | Rpc::ImportListPossibleDuplicates => READ,
        Rpc::SupportListAuditEntries => AUDIT,
        Rpc::SupportListSupportReads => OVERSEE,
        Rpc::IngestApplyChunk
        | Rpc::IngestResolveLinks
        | Rpc::IngestKeepSupportRead
        | Rpc::IngestListErasures => SERVICE,
    };
    let scope = match rpc {
        Rpc::ChangeSubscribe
        | Rpc::ChangeAcknowledge
        | Rpc::ChangeGetSubscription
        | Rpc::ChangeListSubscriptions
        | Rpc::ChangeDeleteSubscription => Scope::Product,
        _ => Scope::Practice,
    };
    Rule { roles, scope }
}

/// Whether a caller in these roles, which allow the call, makes it as support: it
/// says why, and that is kept.
pub fn is_support(held: &[Role], rpc: Rpc) -> bool {
    let allowing = held.iter().filter(|role| rule(rpc).roles.contains(role));
    let mut allowing = allowing.peekable();
    allowing.peek().is_some() && allowing.all(|role| *role == Role::Support)
}

/// The RPC of a request path such as `/concord.records.v1.ClientService/GetClient`.
pub fn rpc_of_path(path: &str) -> Option<Rpc> {
    static BY_PATH: LazyLock<HashMap<&str, Rpc>> =
        LazyLock::new(|| ALL.iter().map(|(rpc, path)| (*path, *rpc)).collect());
    BY_PATH.get(path).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_rpc() {
        let rpc = rpc_of_path("/concord.records.v1.ClientService/CreateClient");
        assert_eq!(rpc, Some(Rpc::ClientCreateClient));
        assert_eq!(rpc_of_path("/concord.records.v1.ClientService/Create"), None);
    }

    #[test]
    fn only_the_imports_service_may_call_the_internal_package() {
        for (rpc, path) in ALL.iter().filter(|(_, path)| path.contains(".internal.")) {
            assert_eq!(rule(*rpc).roles, SERVICE, "{path}");
        }
    }

    #[test]
    fn whoever_has_another_role_that_allows_a_call_is_not_support() {
        let (both, support) = ([Role::Support, Role::Staff], [Role::Support]);
        assert!(is_support(&support, Rpc::ClientGetClient));
        assert!(!is_support(&both, Rpc::ClientGetClient));
        // Staff may not read the audit.
        assert!(is_support(&both, Rpc::SupportListAuditEntries));
        assert!(!is_support(&support, Rpc::ClientCreateClient));
    }

    #[test]
    fn roles_read_back() {
        for (role, name) in Role::ALL {
            assert_eq!(name.parse::<Role>().unwrap(), role);
            assert_eq!(role.to_string(), name);
        }
    }
}
