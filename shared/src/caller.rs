//! Who makes a call.
//!
//! [`authenticate`] reads the credential of a request and checks it against the
//! table of [`access`](crate::access). A handler then takes a [`Caller`] out of
//! its request; every query needs the practice in it, so that none can be
//! written without one.

use std::{fmt, net::SocketAddr, str::FromStr};

use http::HeaderMap;
use tonic::{Code, Extensions};
use uuid::Uuid;

use crate::{
    access::{Role, Rpc, Scope, rule},
    ids::{self, IdKind},
    pb::records::ErrorReason,
    status::Refusal,
};

/// The header with the practice of a call.
pub const PRACTICE_HEADER: &str = "x-concord-practice";
/// Development identity: the product.
pub const PRODUCT_HEADER: &str = "x-concord-product";
/// Development identity: the account of the product; `main` without it.
pub const ACCOUNT_HEADER: &str = "x-concord-account";
/// Development identity: the user.
pub const USER_HEADER: &str = "x-concord-user";
/// Development identity: roles, separated by commas; `staff` without it.
pub const ROLES_HEADER: &str = "x-concord-roles";
/// Of a call by the imports service: the import that it is made for.
pub const IMPORT_HEADER: &str = "x-concord-import";

/// The account of a caller that names none.
pub const DEFAULT_ACCOUNT: &str = "main";

/// The product that changes come from which nobody made.
const SYSTEM_PRODUCT: &str = "concord";

/// Headers that a proxy adds: a request that has one did not come from this
/// machine, and development identity is not for it.
const FORWARDED_HEADERS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Text that names a practice, a product or an account.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $limit:expr, $allowed:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, &'static str> {
                let allowed: fn(usize, u8) -> bool = $allowed;
                let fits = (1..=$limit).contains(&text.len());
                if fits && text.bytes().enumerate().all(|(at, byte)| allowed(at, byte)) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err($what)
                }
            }
        }
    };
}

name_type! {
    /// An accountancy practice: 1 to 64 letters, digits, dots, hyphens and
    /// underscores.
    PracticeId, 64,
    |_, byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte),
    "a practice is 1 to 64 letters, digits, dots, hyphens and underscores"
}

name_type! {
    /// An application of the practice: 1 to 32 lower-case letters, digits and
    /// hyphens, beginning with a letter.
    Product, 32,
    |at, byte| byte.is_ascii_lowercase() || (at > 0 && (byte.is_ascii_digit() || byte == b'-')),
    "a product is 1 to 32 lower-case letters, digits and hyphens, beginning with a letter"
}

name_type! {
    /// One of several accounts of a product: 1 to 64 letters, digits, dots,
    /// hyphens and underscores.
    Account, 64,
    |_, byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte),
    "an account is 1 to 64 letters, digits, dots, hyphens and underscores"
}

/// What a credential says, before a practice is asked for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The practice; without one, the credential is for all practices of the
    /// product.
    pub practice: Option<PracticeId>,
    /// The product.
    pub product: Product,
    /// Its account.
    pub account: Account,
    /// The user; empty when there is none.
    pub user: String,
    /// What the caller may be.
    pub roles: Vec<Role>,
    /// The import that a service call is made for.
    pub import: Option<Uuid>,
}

/// Who makes a call, for one practice.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The practice: every query is about it alone.
    pub practice: PracticeId,
    /// The product.
    pub product: Product,
    /// Its account.
    pub account: Account,
    /// The user; empty when there is none.
    pub user: String,
    /// What the caller may be.
    pub roles: Vec<Role>,
    /// The import that a service call is made for.
    pub import: Option<Uuid>,
}

impl Caller {
    /// Who makes the call whose extensions these are.
    ///
    /// # Errors
    ///
    /// When the call did not pass [`authenticate`], which is a fault of ours.
    pub fn of(extensions: &Extensions) -> Result<Self, Refusal> {
        let identity = identity_of(extensions)?.clone();
        let practice = identity.practice.ok_or_else(practice_required)?;
        Ok(Self {
            practice,
            product: identity.product,
            account: identity.account,
            user: identity.user,
            roles: identity.roles,
            import: identity.import,
        })
    }
}

impl Caller {
    /// Concord itself: for what happens without a call, such as a midnight.
    pub fn system(practice: PracticeId) -> Self {
        Self {
            practice,
            product: Product(SYSTEM_PRODUCT.to_owned()),
            account: Account(DEFAULT_ACCOUNT.to_owned()),
            user: String::new(),
            roles: Vec::new(),
            import: None,
        }
    }
}

/// Who listens to a feed: one product, in one practice or in all of them.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The practice; all of the product's when there is none.
    pub practice: Option<PracticeId>,
    /// The product.
    pub product: Product,
    /// Its account.
    pub account: Account,
    /// What the caller may be.
    pub roles: Vec<Role>,
}

impl Listener {
    /// Who makes the call whose extensions these are.
    ///
    /// # Errors
    ///
    /// When the call did not pass [`authenticate`], which is a fault of ours.
    pub fn of(extensions: &Extensions) -> Result<Self, Refusal> {
        let Identity { practice, product, account, roles, .. } = identity_of(extensions)?.clone();
        Ok(Self { practice, product, account, roles })
    }
}

fn identity_of(extensions: &Extensions) -> Result<&Identity, Refusal> {
    extensions.get::<Identity>().ok_or_else(|| Refusal::internal(&"a call without identity"))
}

/// How callers prove who they are.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// By headers that anyone can write; only for a loopback address.
    Development,
}

impl Credentials {
    /// The credentials for a server that listens on `listen`.
    ///
    /// # Errors
    ///
    /// When the address can be reached from outside and no keys are configured.
    pub fn for_address(listen: SocketAddr) -> Result<Self, InsecureAddress> {
        if listen.ip().is_loopback() { Ok(Self::Development) } else { Err(InsecureAddress(listen)) }
    }
}

/// A server would be open to the network without a proof of identity.
#[derive(Debug, thiserror::Error)]
#[error(
    "refusing to listen on {0}: callers could not be told apart; listen on a loopback address such as 127.0.0.1"
)]
pub struct InsecureAddress(SocketAddr);

/// Who makes the call, if the table of roles allows it.
///
/// # Errors
///
/// `UNAUTHENTICATED` without a usable identity, `PERMISSION_DENIED` when no role
/// of the caller may make the call, `INVALID_ARGUMENT` when a practice is needed
/// and none is named.
pub fn authenticate(
    credentials: &Credentials,
    headers: &HeaderMap,
    rpc: Rpc,
) -> Result<Identity, Refusal> {
    let Credentials::Development = credentials;
    let identity = development_identity(headers)?;
    let rule = rule(rpc);
    check_roles(&identity.roles, rule.roles)?;
    if rule.scope == Scope::Practice && identity.practice.is_none() {
        return Err(practice_required());
    }
    Ok(identity)
}

/// Whether a caller in the roles `held` has one of those that are `needed`.
///
/// # Errors
///
/// `PERMISSION_DENIED` with the roles that are needed.
pub fn check_roles(held: &[Role], needed: &[Role]) -> Result<(), Refusal> {
    if held.iter().any(|role| needed.contains(role)) {
        return Ok(());
    }
    let needed = needed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(Refusal::new(
        Code::PermissionDenied,
        ErrorReason::RoleNotAllowed,
        format!("this call needs one of the roles {needed}"),
    )
    .with("roles", needed))
}

fn practice_required() -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        ErrorReason::PracticeRequired,
        format!("name the practice in the metadata {PRACTICE_HEADER}"),
    )
}

fn development_identity(headers: &HeaderMap) -> Result<Identity, Refusal> {
    if let Some(header) = FORWARDED_HEADERS.into_iter().find(|name| headers.contains_key(*name)) {
        return Err(unauthenticated(&format!(
            "development identity is for callers on this machine, and the header {header} says otherwise"
        )));
    }
    let roles = text(headers, ROLES_HEADER)?.unwrap_or("staff");
    let roles = roles.split(',').map(|role| role.trim().parse::<Role>());
    Ok(Identity {
        practice: parsed(headers, PRACTICE_HEADER)?,
        product: parsed(headers, PRODUCT_HEADER)?
            .ok_or_else(|| unauthenticated(&format!("the metadata {PRODUCT_HEADER} is missing")))?,
        account: parsed(headers, ACCOUNT_HEADER)?.unwrap_or(Account(DEFAULT_ACCOUNT.to_owned())),
        user: user(headers)?,
        roles: roles
            .collect::<Result<_, _>>()
            .map_err(|error| unauthenticated(&format!("{ROLES_HEADER}: {error}")))?,
        import: import(headers)?,
    })
}

fn user(headers: &HeaderMap) -> Result<String, Refusal> {
    let user = text(headers, USER_HEADER)?.unwrap_or_default();
    if user.len() > 200 {
        return Err(unauthenticated(&format!("{USER_HEADER}: at most 200 characters")));
    }
    Ok(user.to_owned())
}

fn import(headers: &HeaderMap) -> Result<Option<Uuid>, Refusal> {
    let Some(text) = text(headers, IMPORT_HEADER)? else { return Ok(None) };
    let id = ids::parse(IdKind::Import, text);
    id.map(Some).ok_or_else(|| unauthenticated(&format!("{IMPORT_HEADER}: not an import")))
}

fn parsed<T: FromStr<Err = &'static str>>(
    headers: &HeaderMap,
    name: &str,
) -> Result<Option<T>, Refusal> {
    let value = text(headers, name)?.map(str::parse).transpose();
    value.map_err(|error| unauthenticated(&format!("{name}: {error}")))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let value = headers.get(name).map(http::HeaderValue::to_str).transpose();
    value.map_err(|_| unauthenticated(&format!("{name}: only visible ASCII characters")))
}

fn unauthenticated(message: &str) -> Refusal {
    Refusal::new(Code::Unauthenticated, ErrorReason::Unauthenticated, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn check(pairs: &[(&'static str, &str)], rpc: Rpc) -> Result<Identity, ErrorReason> {
        authenticate(&Credentials::Development, &headers(pairs), rpc).map_err(|r| r.reason())
    }

    const STAFF: [(&str, &str); 2] = [(PRACTICE_HEADER, "p1"), (PRODUCT_HEADER, "books")];

    #[test]
    fn headers_name_the_caller() {
        let identity = check(&STAFF, Rpc::ClientGetClient).unwrap();
        assert_eq!(identity.practice.unwrap().as_str(), "p1");
        assert_eq!(identity.account.as_str(), DEFAULT_ACCOUNT);
        assert_eq!(identity.roles, [Role::Staff]);
    }

    #[test]
    fn a_role_that_is_not_in_the_table_is_refused() {
        assert_eq!(check(&STAFF, Rpc::ImportSealImport).unwrap_err(), ErrorReason::RoleNotAllowed);
    }

    #[test]
    fn a_call_about_records_needs_a_practice_and_a_feed_does_not() {
        let product = [STAFF[1]];
        let refused = check(&product, Rpc::ClientGetClient).unwrap_err();
        assert_eq!(refused, ErrorReason::PracticeRequired);
        assert!(check(&product, Rpc::ChangeSubscribe).unwrap().practice.is_none());
    }

    #[test]
    fn a_forwarded_call_has_no_development_identity() {
        let forwarded = [STAFF[0], STAFF[1], ("x-forwarded-for", "10.0.0.1")];
        let refused = check(&forwarded, Rpc::ClientGetClient).unwrap_err();
        assert_eq!(refused, ErrorReason::Unauthenticated);
    }

    #[test]
    fn names_of_other_forms_are_refused() {
        for product in ["", "Books", "1books", "bo oks", &"b".repeat(33)] {
            assert!(product.parse::<Product>().is_err(), "{product}");
        }
        assert!("p/1".parse::<PracticeId>().is_err());
    }

    #[test]
    fn an_open_address_is_refused() {
        assert!(Credentials::for_address("0.0.0.0:50051".parse().unwrap()).is_err());
        assert!(Credentials::for_address("[::1]:50051".parse().unwrap()).is_ok());
    }
}
