//! The log backend: one line per event into a file that rotates by size
//! (`plugin/pkg/audit/log` over `gopkg.in/natefinch/lumberjack.v2`).

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use super::errors::PluginErrors;
use super::rotation::{Rotating, parent};
use super::{Backend, Record, legacy};
use crate::audit::event::Event;
use crate::audit::options::LogOptions;
use crate::node::embedded::apiserver::encoding;
use crate::node::embedded::process::go_error_text;
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
    /// Standard output.
    Output,
    /// Nothing (`/dev/null`).
    Null,
    /// A file.
    File(Box<Rotating>),
}

/// Makes sure the log can be written, as start-up does (`ensureLogFile`).
///
/// # Errors
/// The real text, without `ensureLogFile: `.
pub fn ensure(rootfs: &Rootfs, shown: &str) -> Result<(), String> {
    if is_device(shown) {
        return Ok(());
    }
    let path = absolute(shown);
    let directory = parent(&path);
    if let Err(error) = rootfs.create_dir_all(&directory, 0o700) {
        let mut prefix = String::new();
        for part in directory.split('/').filter(|part| !part.is_empty()) {
            prefix.push('/');
            prefix.push_str(part);
            match rootfs.metadata(&prefix) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(format!("mkdir {prefix}: not a directory")),
                Err(_) => break,
            }
        }
        return Err(format!("mkdir {prefix}: {}", go_error_text(&error)));
    }
    match rootfs.append(&path, 0o600) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("open {shown}: {}", go_error_text(&error))),
    }
}

fn is_device(path: &str) -> bool {
    matches!(path, "/dev/stdout" | "/dev/stderr" | "/dev/null")
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

impl Log {
    /// A backend for these options.
    #[must_use]
    pub fn new(options: LogOptions, rootfs: Arc<Rootfs>, errors: PluginErrors) -> Self {
        let writer = match options.path.as_str() {
            "-" | "/dev/stdout" | "/dev/stderr" => Writer::Output,
            "/dev/null" => Writer::Null,
            shown => Writer::File(Box::new(Rotating::new(rootfs, &absolute(shown), &options))),
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
            Writer::Output => {
                let text = String::from_utf8_lossy(&line);
                let output = self.errors.klog().output();
                output.stdout(text.trim_end_matches('\n'));
                Ok(())
            }
            Writer::Null => Ok(()),
            Writer::File(file) => file.write(&line),
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
