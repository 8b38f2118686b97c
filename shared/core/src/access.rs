//! Access control: the roles that may call each RPC.
//!
//! One table for both services. The RPCs are an enum that is generated from the proto
//! files, and [`rule`] is a `match` over it: the build fails for an RPC that is not in the
//! table.

use concord_proto::rpc::Rpc;
use strum::{Display, EnumString, VariantArray};

/// RPCs that a service polls every few seconds. Successful calls are logged at level DEBUG.
pub const POLLED: &[Rpc] = &[Rpc::IngestListErasures];

/// A role of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray)]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownRole, parse_err_fn = unknown_role)]
pub enum Role {
    /// Owns the practice.
    Owner,
    /// Administers the practice.
    Admin,
    /// Works for the practice.
    Staff,
    /// Supports the practice from outside. Read-only.
    Support,
    /// Reads records, and their values before a correction.
    Auditor,
    /// The imports service itself.
    Service,
}

impl Role {
    /// All roles.
    pub const ALL: &'static [Self] = Self::VARIANTS;
}

/// The text is not the name of a role.
#[derive(Debug, thiserror::Error)]
#[error("not a role; use owner, admin, staff, support, auditor or service")]
pub struct UnknownRole;

fn unknown_role(_: &str) -> UnknownRole {
    UnknownRole
}

/// The practices that a call covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallScope {
    /// One practice, named by the credential or by the call.
    Practice,
    /// One practice, or all practices of the product if the call names none.
    Product,
}

/// The access rule of an RPC.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The caller needs one of these roles.
    pub roles: &'static [Role],
    /// The practices that the call covers.
    pub scope: CallScope,
}

/// Administers the practice.
const MANAGE: &[Role] = &[Role::Owner, Role::Admin];
/// Administers the practice, or is the imports service on behalf of an administrator.
const MANAGE_OR_SERVICE: &[Role] = &[Role::Owner, Role::Admin, Role::Service];
/// Changes records.
const WRITE: &[Role] = &[Role::Owner, Role::Admin, Role::Staff];
/// Reads records.
const READ: &[Role] = &[Role::Owner, Role::Admin, Role::Staff, Role::Support, Role::Auditor];
/// Reads the audit log.
const AUDIT: &[Role] = &[Role::Owner, Role::Admin, Role::Support, Role::Auditor];
/// Reads the log of support access.
const OVERSEE: &[Role] = &[Role::Owner, Role::Admin, Role::Auditor];
/// The imports service only.
const SERVICE: &[Role] = &[Role::Service];

/// The access rule of the RPC.
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
        | Rpc::ChangeDeleteSubscription => CallScope::Product,
        _ => CallScope::Practice,
    };
    Rule { roles, scope }
}

/// True if the call is support access: of the caller's roles, only `support` allows it.
/// Such a call needs a reason, which is logged.
pub fn is_support(held: &[Role], rpc: Rpc) -> bool {
    let allowing = held.iter().filter(|role| rule(rpc).roles.contains(role));
    let mut allowing = allowing.peekable();
    allowing.peek().is_some() && allowing.all(|role| *role == Role::Support)
}

#[cfg(test)]
mod tests {
    use concord_proto::rpc::ALL;

    use super::*;

    #[test]
    fn internal_rpcs_allow_the_service_role_only() {
        for (rpc, path) in ALL.iter().filter(|(_, path)| path.contains(".internal.")) {
            assert_eq!(rule(*rpc).roles, SERVICE, "{path}");
        }
    }

    #[test]
    fn caller_with_another_allowing_role_is_not_support() {
        let (both, support) = ([Role::Support, Role::Staff], [Role::Support]);
        assert!(is_support(&support, Rpc::ClientGetClient));
        assert!(!is_support(&both, Rpc::ClientGetClient));
        // Staff may not read the audit log.
        assert!(is_support(&both, Rpc::SupportListAuditEntries));
        assert!(!is_support(&support, Rpc::ClientCreateClient));
    }

    #[test]
    fn role_name_round_trips() {
        let names: Vec<_> = Role::ALL.iter().map(Role::to_string).collect();
        assert_eq!(names, ["owner", "admin", "staff", "support", "auditor", "service"]);
        for (role, name) in Role::ALL.iter().zip(names) {
            assert_eq!(name.parse::<Role>().unwrap(), *role);
        }
    }
}
