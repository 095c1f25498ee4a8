//! The API server: flags, start-up, HTTPS, the request pipeline, resources, audit.

pub mod api;
pub mod catalog;
pub mod request;
pub mod status;
