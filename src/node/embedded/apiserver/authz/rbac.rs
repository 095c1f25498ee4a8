//! RBAC (`plugin/pkg/auth/authorizer/rbac`).

/// RBAC objects of the store, ready for decisions.
#[derive(Default)]
pub struct Rbac {}
