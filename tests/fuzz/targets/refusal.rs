//! What every refusal must fulfil.

use sse_bus::{limits::MESSAGE_MAX, protocol::Refused};

/// It says something, on one line, and not at any length.
pub(crate) fn check(refused: &Refused) {
    let message = &refused.message;
    assert!(!message.is_empty(), "{:?} without a message", refused.code);
    assert!(!message.contains(char::is_control), "{message:?} holds control characters");
    assert!(message.len() <= MESSAGE_MAX + 16, "a message of {} bytes: {message}", message.len());
}
