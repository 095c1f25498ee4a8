//! The log backend: one line per event into a file that rotates by size
//! (`plugin/pkg/audit/log` over `gopkg.in/natefinch/lumberjack.v2`).

use std::sync::{Arc, Mutex, PoisonError};

use super::rotation::{Rotating, parent};
use super::{Backend, legacy};
use crate::audit::event::Event;
use crate::audit::options::LogOptions;
use crate::node::embedded::apiserver::encoding;
use crate::node::embedded::apiserver::klog::Klog;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// The log backend.
pub struct Log {
    options: LogOptions,
    writer: Mutex<Writer>,
    klog: Klog,
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
    pub fn new(options: LogOptions, rootfs: Arc<Rootfs>, klog: Klog) -> Self {
        let writer = match options.path.as_str() {
            "-" | "/dev/stdout" | "/dev/stderr" => Writer::Output,
            "/dev/null" => Writer::Null,
            shown => Writer::File(Box::new(Rotating::new(rootfs, &absolute(shown), &options))),
        };
        Self {
            options,
            writer: Mutex::new(writer),
            klog,
        }
    }

    fn strict(&self) -> bool {
        self.options.batch.mode == "blocking-strict"
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

    /// `--audit-log-truncate-*`: bodies go first, then the whole event (`plugin/pkg/audit/truncate`).
    fn fitted(&self, event: &Event) -> Option<Vec<u8>> {
        let line = self.line(event);
        let limit = usize::try_from(self.options.truncate.max_event_size).unwrap_or(usize::MAX);
        if !self.options.truncate.enabled || encoding::json(event).len() <= limit {
            return Some(line);
        }
        let mut cut = event.clone();
        cut.request_object = None;
        cut.response_object = None;
        cut.annotations
            .insert("audit.k8s.io/truncated".to_owned(), "true".to_owned());
        if encoding::json(&cut).len() > limit {
            self.report(
                "truncate",
                event,
                "event is too large even after truncating",
            );
            return None;
        }
        Some(self.line(&cut))
    }

    fn report(&self, plugin: &str, event: &Event, reason: &str) {
        self.klog.error(
            "metrics.go:110",
            &format!(
                "Error in audit plugin '{plugin}' affecting 1 audit events: {reason}\nImpacted events:\n{}",
                legacy::line(event)
            ),
        );
    }
}

impl Backend for Log {
    fn process(&self, event: &Event) -> bool {
        let Some(line) = self.fitted(event) else {
            return true;
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let result = match &mut *writer {
            Writer::Output => {
                let text = String::from_utf8_lossy(&line);
                self.klog.output().stdout(text.trim_end_matches('\n'));
                Ok(())
            }
            Writer::Null => Ok(()),
            Writer::File(file) => file.write(&line),
        };
        drop(writer);
        match result {
            Ok(()) => true,
            Err(reason) => {
                self.report("log", event, &reason);
                !self.strict()
            }
        }
    }

    fn refuse(&self, event: &Event, reason: &str) -> bool {
        if self.options.format == "legacy" {
            return self.process(event);
        }
        self.report("log", event, reason);
        !self.strict()
    }
}
