//! Loads forged checkpoints, and uses what can be loaded: nothing may panic.
//!
//! ```text
//! cargo +nightly fuzz run files
//! ```

#![no_main]

#[path = "../../tests/files/forgery.rs"]
mod forgery;

use arbitrary::Unstructured;
use forgery::{Forgery, NUMBERS, try_forgery};
use libfuzzer_sys::fuzz_target;

fn forgery(bytes: &[u8]) -> arbitrary::Result<Forgery> {
    let mut source = Unstructured::new(bytes);
    Ok(Forgery {
        file: source.int_in_range(0..=3)?,
        number: if source.arbitrary()? {
            Some((source.arbitrary()?, source.choose(&NUMBERS)?))
        } else {
            None
        },
        cut: source.int_in_range(0..=2)?,
        place: source.arbitrary()?,
        bytes: source.arbitrary()?,
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(forgery) = forgery(bytes) {
        try_forgery(&forgery);
    }
});
