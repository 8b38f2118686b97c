//! Whose call it is, where callers share what a server has.

use std::sync::Arc;

use crate::{
    access::Role,
    caller::{Identity, PracticeId, Product},
};

/// A product in one practice, or in all of them; the imports service on its behalf is
/// another tenant: an import is not held up by what its product asks for, nor the other
/// way round.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tenant(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    practice: Option<PracticeId>,
    product: Product,
    service: bool,
}

impl Tenant {
    pub(super) fn of(identity: &Identity) -> Self {
        Self(Arc::new(Parts {
            practice: identity.practice.clone(),
            product: identity.product.clone(),
            service: identity.roles.contains(&Role::Service),
        }))
    }
}
