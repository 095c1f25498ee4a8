//! Ctrl-C while other programs work for us: they end with this process, also when only this one was told.

use std::sync::{Mutex, Once, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{SignalKind, signal};

/// Process groups that end with this process.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static HANDLER: Once = Once::new();

/// A process group that ends with this process as long as this is kept.
#[derive(Debug)]
pub struct Guard(Option<Pid>);

impl Guard {
    /// For the group that this process leads.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        HANDLER.call_once(|| {
            // Without it the default of the signal stays: this process ends, the other one is found by the next.
            let _ = std::thread::Builder::new()
                .name("interrupt".to_owned())
                .spawn(listen);
        });
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            groups().push(pid);
        }
        Self(pid)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            groups().retain(|other| *other != pid);
        }
    }
}

fn groups() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return };
    let number = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).ok()?;
        let mut terminate = signal(SignalKind::terminate()).ok()?;
        let mut hangup = signal(SignalKind::hangup()).ok()?;
        Some(tokio::select! {
            _ = interrupt.recv() => Signal::INT,
            _ = terminate.recv() => Signal::TERM,
            _ = hangup.recv() => Signal::HUP,
        })
    });
    let Some(number) = number else { return };
    for group in groups().iter() {
        let _ = kill_process_group(*group, Signal::TERM);
    }
    std::process::exit(128 + number.as_raw());
}
