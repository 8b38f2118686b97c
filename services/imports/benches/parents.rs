//! Benchmarks the check of a record by its parents, which the worker runs for every
//! contact and address of an import.
//!
//! The rules are private to the service, so the benchmark compiles their files.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};

#[path = "../src/domain"]
#[expect(dead_code, unused_imports, reason = "the bench needs a part of it, and no tests")]
mod domain {
    pub(super) mod enums;
    mod issue;
    pub(super) mod parents;
}

use domain::{
    enums::Kind,
    parents::{Parent, ParentState, judge_parents},
};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, kind, parents) in [
        ("an address of a known client", Kind::Address, vec![known(1)]),
        ("a contact of 5 known clients", Kind::Contact, (1..=5).rev().map(known).collect()),
        ("a contact of a failed client", Kind::Contact, vec![known(1), failed()]),
    ] {
        criterion.bench_function(&format!("judge by parents/{name}"), |b| {
            let judge = |parents| judge_parents(black_box(kind), parents);
            b.iter_batched(|| parents.clone(), judge, BatchSize::SmallInput);
        });
    }
    criterion.final_summary();
}

fn known(number: usize) -> Parent {
    let record_id = format!("cli_{number:032x}");
    Parent { source_id: format!("C{number:05}"), state: ParentState::Resolved(record_id) }
}

fn failed() -> Parent {
    let state = ParentState::Failed {
        name: "HARB001".to_owned(),
        root_cause: "client HARB001: Required field is blank: Registered name".to_owned(),
    };
    Parent { source_id: "C00017".to_owned(), state }
}
