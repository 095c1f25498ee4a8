//! Words about what takes a while, for whoever listens.

use std::sync::OnceLock;

static LISTENER: OnceLock<fn(&str)> = OnceLock::new();

/// Sets who is told; the first one stays.
pub fn listen(listener: fn(&str)) {
    let _ = LISTENER.set(listener);
}

/// Tells it a line.
pub fn tell(line: &str) {
    if let Some(listener) = LISTENER.get() {
        listener(line);
    }
}
