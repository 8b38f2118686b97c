//! Who makes a call.
//!
//! The [`identity`](crate::identity) of a request is found out before its handler
//! runs. The handler then takes a [`Caller`] out of its request; every query needs
//! the practice in it, so that none can be written without one.

use std::{fmt, str::FromStr};

use tonic::{Code, Extensions};
use uuid::Uuid;

use crate::{access::Role, pb::records::ErrorReason, status::Refusal};

/// The metadata with the practice of a call.
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

/// Why support makes a call.
pub const REASON_HEADER: &str = "x-concord-reason";

/// The account of a caller that names none.
pub const DEFAULT_ACCOUNT: &str = "main";

/// Replaces the product in changes that Concord itself made. No product may have the
/// name: it would be taken for the author of these changes.
const SYSTEM_PRODUCT: &str = "concord";

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

impl Account {
    /// The account of a caller that names none.
    pub fn main() -> Self {
        Self(DEFAULT_ACCOUNT.to_owned())
    }
}

impl Product {
    /// The product that a caller is, or that is switched on: one of another name than
    /// Concord's own. Rows of before may have that name, and are read by `parse`.
    ///
    /// # Errors
    ///
    /// What is wrong with the name, and what to do.
    pub fn claimed(text: &str) -> Result<Self, &'static str> {
        if text == SYSTEM_PRODUCT {
            return Err("the name concord is reserved for the changes that Concord itself makes; \
                        choose another name for the product");
        }
        text.parse()
    }
}

/// Who made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author<'a> {
    /// Concord itself, as at a midnight: no caller requested the change.
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
    /// The author of a change that is stored with this product and account.
    pub fn stored(product: &'a str, account: &'a str) -> Self {
        if product == SYSTEM_PRODUCT { Self::System } else { Self::Account { product, account } }
    }
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
    /// When the identity of the call was not found out, which is a fault of ours.
    pub fn of(extensions: &Extensions) -> Result<Self, Refusal> {
        identity_of(extensions)?.clone().in_practice()
    }
}

impl Identity {
    /// The caller, in the practice that is named.
    pub(crate) fn in_practice(self) -> Result<Caller, Refusal> {
        let Self { practice, product, account, user, roles, import } = self;
        let practice = practice.ok_or_else(practice_required)?;
        Ok(Caller { practice, product, account, user, roles, import })
    }
}

impl Caller {
    /// Concord itself: for what happens without a call, such as a midnight.
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
    /// When the identity of the call was not found out, which is a fault of ours.
    pub fn of(extensions: &Extensions) -> Result<Self, Refusal> {
        let Identity { practice, product, account, roles, .. } = identity_of(extensions)?.clone();
        Ok(Self { practice, product, account, roles })
    }
}

fn identity_of(extensions: &Extensions) -> Result<&Identity, Refusal> {
    extensions.get::<Identity>().ok_or_else(|| Refusal::internal(&"a call without identity"))
}

/// The call is about one practice, and none is named.
pub(crate) fn practice_required() -> Refusal {
    Refusal::new(
        Code::InvalidArgument,
        ErrorReason::PracticeRequired,
        format!("name the practice in the metadata {PRACTICE_HEADER}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_forms_are_refused() {
        for product in ["", "Books", "1books", "bo oks", &"b".repeat(33)] {
            assert!(product.parse::<Product>().is_err(), "{product}");
        }
        assert!("p/1".parse::<PracticeId>().is_err());
    }

    #[test]
    fn no_product_has_the_name_of_the_system() {
        let system = Caller::system("p1".parse().unwrap());
        let refused = Product::claimed(system.product.as_str()).unwrap_err();
        assert!(refused.contains("choose another name"), "{refused}");
        assert_eq!(Product::claimed("concord-2").unwrap().as_str(), "concord-2");
        assert!(Product::claimed("Books").is_err());
        let stored = Author::stored(system.product.as_str(), system.account.as_str());
        assert_eq!(stored, Author::System);
        let account = Author::Account { product: "books", account: "main" };
        assert_eq!(Author::stored("books", "main"), account);
    }
}
