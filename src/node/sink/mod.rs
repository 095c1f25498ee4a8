//! Sinks: receivers for the API server's audit webhook that run on the node itself.
//!
//! A real API server reaches them over the node's loopback interface, as its pod has the node's network. What is
//! posted is appended to a file of the node, one event a line, as a log backend would write it. On a kind node
//! ckslab's own program runs them ([`process`]); the embedded node runs them in its process.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::NodeError;
use super::embedded::root::pki;

pub mod process;
pub mod receiver;

/// Format of a sink's settings.
const FORMAT: u32 = 1;

/// A receiver, as a scenario asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// Port on the node's loopback address.
    pub port: u16,
    /// Path of its URL.
    pub url_path: String,
    /// The file of the node that gets the events.
    pub entries: String,
    /// Where the certificate of its authority is written, on the node.
    pub ca: String,
}

/// What a receiver needs to run. Has a key: readable for one user only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Format of this file.
    pub format: u32,
    /// Port on the loopback address.
    pub port: u16,
    /// Path of the URL.
    pub url_path: String,
    /// The file that gets the events.
    pub entries: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// The key of that, PEM.
    pub key: String,
}

impl Settings {
    /// Makes an authority and a certificate for a receiver; gives the settings, and the authority's certificate (PEM).
    ///
    /// # Errors
    /// When no key can be made.
    pub fn mint(sink: &Sink) -> Result<(Self, String), NodeError> {
        let server = pki::mint_server("audit-sink", &["localhost"])
            .map_err(|error| NodeError::Refused(error.to_string()))?;
        let settings = Self {
            format: FORMAT,
            port: sink.port,
            url_path: sink.url_path.clone(),
            entries: sink.entries.clone(),
            certificate: server.certificate,
            key: server.key,
        };
        Ok((settings, server.authority))
    }

    /// The settings as they are kept.
    ///
    /// # Errors
    /// Never for settings that can be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, NodeError> {
        serde_json::to_vec(self).map_err(|error| NodeError::Refused(error.to_string()))
    }

    /// Reads a file of settings.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer ckslab.
    pub fn load(path: &Path) -> std::io::Result<Self> {
        let settings: Self = serde_json::from_slice(&std::fs::read(path)?)?;
        if settings.format > FORMAT {
            return Err(std::io::Error::other("made by a newer ckslab"));
        }
        Ok(settings)
    }
}
