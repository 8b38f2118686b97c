use std::{cell::RefCell, collections::HashSet, panic::catch_unwind};

use super::*;

/// The panic message of a failing check.
fn panic_message(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
    *catch_unwind(check).unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn failing_input_is_found_shrunk_and_written() {
    let message = panic_message(|| {
        Fuzz::new("fragile").seed("key=value").cases(4_000).check(|input| {
            assert!(!input.contains(&0), "a zero byte");
        });
    });
    assert!(message.contains("a zero byte"), "{message}");
    let input = fs::read(message.rsplit("kept in: ").next().unwrap()).unwrap();
    assert!(input.contains(&0) && input.len() <= "key=value".len() + 4, "{message}");
}

#[test]
fn failing_seed_is_reported() {
    let message =
        panic_message(|| Fuzz::new("seed").seed("bad").check(|input| assert_ne!(input, b"bad")));
    assert!(message.contains("b\"bad\""), "{message}");
}

#[test]
fn generated_inputs_vary() {
    let seen = RefCell::new(HashSet::new());
    Fuzz::new("variety").seed("one").seed("two").check(|input| {
        seen.borrow_mut().insert(input.to_owned());
    });
    assert!(seen.borrow().len() > 100, "{}", seen.borrow().len());
}
