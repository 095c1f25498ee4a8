//! The audit pipeline of the running server: policy decision, events, backends.

/// Policy and backends.
#[derive(Default)]
pub struct Sink {}
