//! The API server: flags, start-up, HTTPS, the request pipeline, resources, audit.

pub mod admission;
pub mod api;
pub mod audit;
pub mod authn;
pub mod authz;
pub mod catalog;
pub mod discovery;
pub mod flags;
pub mod kinds;
pub mod managed_fields;
pub mod openapi;
pub mod patch;
pub mod pipeline;
pub mod registry;
pub mod request;
pub mod schema;
pub mod selector;
pub mod state;
pub mod status;
pub mod subresources;
pub mod table;
