use std::{cell::RefCell, collections::HashSet, panic::catch_unwind};

use super::*;

/// What a property that cannot hold says.
fn broken(hold: impl FnOnce() + std::panic::UnwindSafe) -> String {
    *catch_unwind(hold).unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn what_breaks_a_reader_is_found_made_small_and_kept() {
    let message = broken(|| {
        Fuzz::called("fragile").and("key=value").cases(4_000).hold(|input| {
            assert!(!input.contains(&0), "a zero byte");
        });
    });
    assert!(message.contains("a zero byte"), "{message}");
    let input = fs::read(message.rsplit("kept in: ").next().unwrap()).unwrap();
    assert!(input.contains(&0) && input.len() <= "key=value".len() + 4, "{message}");
}

#[test]
fn a_seed_that_fails_is_named() {
    let message =
        broken(|| Fuzz::called("seed").and("bad").hold(|input| assert_ne!(input, b"bad")));
    assert!(message.contains("b\"bad\""), "{message}");
}

#[test]
fn inputs_differ() {
    let seen = RefCell::new(HashSet::new());
    Fuzz::called("variety").and("one").and("two").hold(|input| {
        seen.borrow_mut().insert(input.to_owned());
    });
    assert!(seen.borrow().len() > 100, "{}", seen.borrow().len());
}
