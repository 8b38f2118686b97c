//! The tenant of a call, by which limits are shared.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::shares::Sharer;
use concord_core::{
    access::Role,
    caller::{Identity, PracticeId, Product},
};

/// A product in one practice, or in all practices. The imports service on behalf of the
/// product is another tenant, so that an import and the calls of its product do not delay
/// each other.
///
/// A tenant belongs to two groups: all products of its practice, and its product in all
/// practices. They prevent that a practice with many products, or a product that names
/// many practices, takes the whole capacity.
#[derive(Clone, Debug)]
pub struct Tenant(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    key: Key,
    groups: Vec<Tenant>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Product { practice: Option<PracticeId>, product: Product, service: bool },
    GroupOfPractice { practice: PracticeId, service: bool },
    GroupOfProduct { product: Product, service: bool },
}

impl Tenant {
    pub(super) fn of(identity: &Identity) -> Self {
        let service = identity.roles.contains(&Role::Service);
        Self::new(identity.practice.clone(), identity.product.clone(), service)
    }

    /// A product in one practice.
    pub fn in_practice(practice: &PracticeId, product: &Product) -> Self {
        Self::new(Some(practice.clone()), product.clone(), false)
    }

    fn new(practice: Option<PracticeId>, product: Product, service: bool) -> Self {
        let group = |key| Self(Arc::new(Parts { key, groups: Vec::new() }));
        let of_practice =
            practice.clone().map(|practice| group(Key::GroupOfPractice { practice, service }));
        let of_product = group(Key::GroupOfProduct { product: product.clone(), service });
        let groups = of_practice.into_iter().chain([of_product]).collect();
        Self(Arc::new(Parts { key: Key::Product { practice, product, service }, groups }))
    }
}

impl PartialEq for Tenant {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for Tenant {}

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl Sharer for Tenant {
    fn groups(&self) -> &[Self] {
        &self.0.groups
    }
}
