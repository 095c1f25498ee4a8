//! What Kubernetes' Go types say: field names and order, decoding and its errors, merge keys.

mod cursor;
mod table;

pub use cursor::{FieldInfo, TypeKind, TypeRef, field, root};
