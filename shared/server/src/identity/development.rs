//! Development identity: unsigned headers, for the machine of the developer only.

use http::HeaderMap;

use super::headers::{import, parsed, product, text, unauthenticated, user};
use concord_core::{
    access::Role,
    caller::{ACCOUNT_HEADER, Account, Identity, PRACTICE_HEADER, PRODUCT_HEADER, ROLES_HEADER},
    status::ApiError,
};

/// Headers that a proxy adds. A request with one of them may come from another machine, and
/// is rejected.
const FORWARDED_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// The identity in the headers.
pub(super) fn identity(headers: &HeaderMap) -> Result<Identity, ApiError> {
    if let Some(header) = FORWARDED_HEADERS.into_iter().find(|name| headers.contains_key(*name)) {
        return Err(unauthenticated(format!(
            "development identity is for callers on this machine only: remove the header {header}"
        )));
    }
    let roles = text(headers, ROLES_HEADER)?.unwrap_or("staff");
    let roles = roles.split(',').map(|role| role.trim().parse::<Role>());
    Ok(Identity {
        practice: parsed(headers, PRACTICE_HEADER)?,
        product: product(headers)?
            .ok_or_else(|| unauthenticated(format!("the metadata {PRODUCT_HEADER} is missing")))?,
        account: parsed(headers, ACCOUNT_HEADER)?.unwrap_or_else(Account::main),
        user: user(headers)?,
        roles: roles
            .collect::<Result<_, _>>()
            .map_err(|error| unauthenticated(format!("{ROLES_HEADER}: {error}")))?,
        import: import(headers)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Credentials;
    use concord_core::caller::DEFAULT_ACCOUNT;
    use concord_proto::{pb::records::ErrorReason, rpc::Rpc};

    fn check(pairs: &[(&'static str, &str)], rpc: Rpc) -> Result<Identity, ErrorReason> {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let identity =
            Credentials::Development.authenticate(&headers, &http::Extensions::new(), rpc);
        identity.map_err(|error| error.reason())
    }

    const STAFF: [(&str, &str); 2] = [(PRACTICE_HEADER, "p1"), (PRODUCT_HEADER, "books")];

    #[test]
    fn headers_identify_the_caller() {
        let identity = check(&STAFF, Rpc::ClientGetClient).unwrap();
        assert_eq!(identity.practice.unwrap().as_str(), "p1");
        assert_eq!(identity.account.as_str(), DEFAULT_ACCOUNT);
        assert_eq!(identity.roles, [Role::Staff]);
    }

    #[test]
    fn reserved_product_is_rejected() {
        let system = [STAFF[0], (PRODUCT_HEADER, "concord")];
        let error = check(&system, Rpc::ClientGetClient).unwrap_err();
        assert_eq!(error, ErrorReason::Unauthenticated);
    }

    #[test]
    fn role_without_access_is_rejected() {
        assert_eq!(check(&STAFF, Rpc::ImportSealImport).unwrap_err(), ErrorReason::RoleNotAllowed);
    }

    #[test]
    fn record_call_needs_a_practice_and_feed_call_does_not() {
        let product = [STAFF[1]];
        let error = check(&product, Rpc::ClientGetClient).unwrap_err();
        assert_eq!(error, ErrorReason::PracticeRequired);
        assert!(check(&product, Rpc::ChangeSubscribe).unwrap().practice.is_none());
    }

    #[test]
    fn forwarded_call_is_rejected() {
        let forwarded = [STAFF[0], STAFF[1], ("x-forwarded-for", "10.0.0.1")];
        let error = check(&forwarded, Rpc::ClientGetClient).unwrap_err();
        assert_eq!(error, ErrorReason::Unauthenticated);
    }
}
