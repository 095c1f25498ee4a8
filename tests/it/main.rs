//! End-to-end and conformance tests.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end itself"
)]

mod admission;
mod cheats;
mod checks;
mod cli_policy;
mod clients;
mod cluster;
mod configuration;
mod conformance_policy;
mod escapes;
mod events;
mod fake_node;
mod faults;
mod flag_faults;
mod flags;
mod gate;
mod grade;
mod health;
mod kind;
mod kinds;
mod layers;
mod legacy;
mod mutants;
mod overload;
mod pace;
mod pipeline;
mod policy_fairness;
mod policy_properties;
mod progress;
mod random_requests;
mod registry;
mod replay;
mod report;
mod rotation;
mod scenario;
mod schema;
mod server;
mod sink;
mod static_pod;
mod views;
mod walk;
mod webhook;

mod authoring;
mod builder;
mod cli;
mod client;
mod durability;
mod edit;
mod full_disk;
mod hostile;
mod hostile_frames;
mod inside;
mod kubectl;
mod lab;
mod load;
