//! The authenticated caller of a request.
//!
//! The server authenticates a request (`concord_server::identity`) before its handler
//! runs. The handler takes the [`Caller`] from the request. Its practice is the
//! tenant, by which every query filters.

use std::{fmt, str::FromStr};

use tonic::{Code, Extensions};
use uuid::Uuid;

use crate::{access::Role, status::ApiError};
use concord_proto::pb::records::ErrorReason;

/// Metadata key: the practice of a call.
pub const PRACTICE_HEADER: &str = "x-concord-practice";
/// Metadata key of development identity: the product.
pub const PRODUCT_HEADER: &str = "x-concord-product";
/// Metadata key of development identity: the account of the product; default `main`.
pub const ACCOUNT_HEADER: &str = "x-concord-account";
/// Metadata key of development identity: the user.
pub const USER_HEADER: &str = "x-concord-user";
/// Metadata key of development identity: roles, separated by commas; default `staff`.
pub const ROLES_HEADER: &str = "x-concord-roles";
/// Metadata key of a call of the imports service: the import that the call is for.
pub const IMPORT_HEADER: &str = "x-concord-import";

/// Metadata key: the reason of a support access.
pub const REASON_HEADER: &str = "x-concord-reason";

/// The default account.
pub const DEFAULT_ACCOUNT: &str = "main";

/// The author of changes that Concord itself makes, in place of a product. Reserved: no
/// product may have this name.
const SYSTEM_PRODUCT: &str = "concord";

/// Defines the name type of a practice, a product or an account.
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
    /// An accountancy practice, the tenant: 1 to 64 letters, digits, dots, hyphens and
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

impl Account {
    /// The default account.
    pub fn main() -> Self {
        Self(DEFAULT_ACCOUNT.to_owned())
    }
}

impl Product {
    /// Parses the name of a product that calls or is connected. Rejects the reserved name of
    /// Concord. `parse` accepts it, because stored rows may have it.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, and the remedy.
    pub fn parse_unreserved(text: &str) -> Result<Self, &'static str> {
        if text == SYSTEM_PRODUCT {
            return Err("the name concord is reserved for the changes that Concord itself makes; \
                        choose another name for the product");
        }
        text.parse()
    }
}

/// The author of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author<'a> {
    /// Concord itself, such as at a date rollover: no caller requested the change.
    System,
    /// An account of a product.
    Account {
        /// The product.
        product: &'a str,
        /// Its account.
        account: &'a str,
    },
}

impl<'a> Author<'a> {
    /// The author of a change with this stored product and account.
    pub fn stored(product: &'a str, account: &'a str) -> Self {
        if product == SYSTEM_PRODUCT { Self::System } else { Self::Account { product, account } }
    }
}

/// The identity of a verified credential, before a practice is required.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The practice; `None` if the credential is for all practices of the product.
    pub practice: Option<PracticeId>,
    /// The product.
    pub product: Product,
    /// Its account.
    pub account: Account,
    /// The user; empty if there is none.
    pub user: String,
    /// The roles of the caller.
    pub roles: Vec<Role>,
    /// The import that a call of the imports service is for.
    pub import: Option<Uuid>,
}

/// The caller of an RPC that covers one practice.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The practice: the tenant of every query.
    pub practice: PracticeId,
    /// The product.
    pub product: Product,
    /// Its account.
    pub account: Account,
    /// The user; empty if there is none.
    pub user: String,
    /// The roles of the caller.
    pub roles: Vec<Role>,
    /// The import that a call of the imports service is for.
    pub import: Option<Uuid>,
}

impl Caller {
    /// The caller, from the extensions of the request.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the request was not authenticated, which is a bug.
    pub fn of(extensions: &Extensions) -> Result<Self, ApiError> {
        identity_of(extensions)?.clone().in_practice()
    }
}

impl Identity {
    /// The caller, in the named practice.
    pub fn in_practice(self) -> Result<Caller, ApiError> {
        let Self { practice, product, account, user, roles, import } = self;
        let practice = practice.ok_or_else(practice_required)?;
        Ok(Caller { practice, product, account, user, roles, import })
    }
}

impl Caller {
    /// Concord itself: for changes without a call, such as a date rollover.
    pub fn system(practice: PracticeId) -> Self {
        Self {
            practice,
            product: Product(SYSTEM_PRODUCT.to_owned()),
            account: Account::main(),
            user: String::new(),
            roles: Vec::new(),
            import: None,
        }
    }
}

/// The caller of a feed RPC: a product, in one practice or in all of its practices.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// The practice; `None` for all practices of the product.
    pub practice: Option<PracticeId>,
    /// The product.
    pub product: Product,
    /// Its account.
    pub account: Account,
    /// The roles of the caller.
    pub roles: Vec<Role>,
}

impl Subscriber {
    /// The caller, from the extensions of the request.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the request was not authenticated, which is a bug.
    pub fn of(extensions: &Extensions) -> Result<Self, ApiError> {
        let Identity { practice, product, account, roles, .. } = identity_of(extensions)?.clone();
        Ok(Self { practice, product, account, roles })
    }
}

fn identity_of(extensions: &Extensions) -> Result<&Identity, ApiError> {
    extensions.get::<Identity>().ok_or_else(|| ApiError::internal(&"a request without identity"))
}

/// `PRACTICE_REQUIRED`: the call covers one practice, and none is named.
pub fn practice_required() -> ApiError {
    ApiError::new(
        Code::InvalidArgument,
        ErrorReason::PracticeRequired,
        format!("name the practice in the metadata {PRACTICE_HEADER}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_names_are_rejected() {
        for product in ["", "Books", "1books", "bo oks", &"b".repeat(33)] {
            assert!(product.parse::<Product>().is_err(), "{product}");
        }
        assert!("p/1".parse::<PracticeId>().is_err());
    }

    #[test]
    fn reserved_product_name_is_rejected() {
        let system = Caller::system("p1".parse().unwrap());
        let error = Product::parse_unreserved(system.product.as_str()).unwrap_err();
        assert!(error.contains("choose another name"), "{error}");
        assert_eq!(Product::parse_unreserved("concord-2").unwrap().as_str(), "concord-2");
        assert!(Product::parse_unreserved("Books").is_err());
        let stored = Author::stored(system.product.as_str(), system.account.as_str());
        assert_eq!(stored, Author::System);
        let account = Author::Account { product: "books", account: "main" };
        assert_eq!(Author::stored("books", "main"), account);
    }
}
