//! The log backend: one line per event into a file that rotates by size
//! (`plugin/pkg/audit/log` over `gopkg.in/natefinch/lumberjack.v2`).

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::errors::PluginErrors;
pub use super::rotation::ensure;
use super::rotation::{Plain, Rotating};
use super::{Backend, Record, legacy};
use crate::audit::event::Event;
use crate::audit::options::LogOptions;
use crate::node::embedded::apiserver::encoding;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// The plugin's name in errors.
const PLUGIN: &str = "log";

/// The log backend.
pub struct Log {
    options: LogOptions,
    writer: Mutex<Writer>,
    errors: PluginErrors,
}

enum Writer {
    /// A file that does not rotate, or standard output.
    Plain(Plain),
    /// A file that rotates.
    Rotating(Box<Rotating>),
}

impl Log {
    /// A backend for these options.
    #[must_use]
    pub fn new(options: LogOptions, rootfs: Arc<Rootfs>, errors: PluginErrors) -> Self {
        let output = errors.klog().output().clone();
        let writer = if options.path == "-" {
            Writer::Plain(Plain::stdout(output))
        } else if options.max_size == 0 {
            Writer::Plain(Plain::new(&rootfs, &options, output))
        } else {
            Writer::Rotating(Box::new(Rotating::new(rootfs, &options, output)))
        };
        Self {
            options,
            writer: Mutex::new(writer),
            errors,
        }
    }

    fn line(&self, event: &Event) -> Vec<u8> {
        let mut line = if self.options.format == "legacy" {
            legacy::line(event).into_bytes()
        } else {
            encoding::json(event)
        };
        line.push(b'\n');
        line
    }

    fn write(&self, record: &Record) -> Result<(), String> {
        // The legacy form has no bodies, so nothing in it can fail to be written.
        if let Some(reason) = &record.unencodable
            && self.options.format != "legacy"
        {
            return Err(reason.clone());
        }
        let line = self.line(&record.event);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *writer {
            Writer::Plain(file) => file.write(&line),
            Writer::Rotating(file) => file.write(&line),
        }
    }
}

impl Backend for Log {
    fn name(&self) -> String {
        PLUGIN.to_owned()
    }

    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool> {
        let mut stored = true;
        for record in records {
            if let Err(reason) = self.write(record) {
                self.errors.report(PLUGIN, &reason, &[record]);
                stored = false;
            }
        }
        Box::pin(std::future::ready(stored))
    }
}
