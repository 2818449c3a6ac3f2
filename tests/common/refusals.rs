//! What an error has to say.

use std::fmt::Debug;

use mpo::{Error, Result};

/// That something was refused with this kind of error, and with all these words in its message.
pub fn refused<T: Debug>(result: Result<T>, kind: &str, words: &[&str]) {
    let error = match result {
        Ok(value) => panic!("accepted, where {kind} about {words:?} was expected: {value:?}"),
        Err(error) => error,
    };
    assert_eq!(name(&error), kind, "{error}");
    let message = error.to_string();
    assert!(words.iter().all(|word| message.contains(word)), "{words:?} are not all in: {message}");
}

fn name(error: &Error) -> &'static str {
    match error {
        Error::Config { .. } => "Config",
        Error::Size { .. } => "Size",
        Error::Shape { .. } => "Shape",
        Error::NonFinite { .. } => "NonFinite",
        Error::Range { .. } => "Range",
        Error::ReplayTooSmall { .. } => "ReplayTooSmall",
        Error::Order { .. } => "Order",
        Error::Environment { .. } => "Environment",
        Error::File { .. } => "File",
        Error::Observer { .. } => "Observer",
        _ => "another",
    }
}
