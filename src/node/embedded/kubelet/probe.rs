//! Probe workers (`pkg/kubelet/prober/worker.go`): when to probe, and what the answers mean.

use std::time::Duration;

use super::journal::Moment;
use super::worker::beat;
use crate::manifest::{Container, Probe, ProbeAction};
use crate::node::embedded::pace::Pace;

/// The three probes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Until it succeeds the others wait; its failure restarts the container.
    Startup,
    /// Its failure restarts the container.
    Liveness,
    /// Decides whether the container is ready.
    Readiness,
}

impl ProbeKind {
    /// As in `Readiness probe failed`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }

    /// As in `failed liveness probe`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Liveness => "liveness",
            ProbeKind::Readiness => "readiness",
        }
    }
}

/// The answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// It answered well.
    Success,
    /// It failed, with this text.
    Failure(String),
    /// It could not be made at all (a port name that does not exist...); counts as neither.
    Error(String),
}

#[derive(Debug, Clone)]
struct Worker {
    kind: ProbeKind,
    probe: Probe,
    next: Duration,
    in_flight: bool,
    successes: u32,
    failures: u32,
    healthy: Option<bool>,
}

/// The probes of one container.
#[derive(Debug, Clone, Default)]
pub(super) struct Probes {
    workers: Vec<Worker>,
    started_at: Duration,
    /// Since when the workers tick.
    ticking: Duration,
}

/// What an answer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    None,
    /// The container must be restarted.
    Restart,
}

impl Probes {
    /// Workers of a container that starts at `now`. They tick since the pod was first run, and wait out the initial delay,
    /// counted from the whole second in which the container started, as its status has it.
    pub fn start(container: &Container, now: Moment, ticking: Duration, pace: Pace) -> Self {
        let wall = now.wall.subsec_nanosecond();
        let part = Duration::from_nanos(u64::try_from(wall).unwrap_or(0));
        let now = now.at;
        let first = |probe: &Probe| match pace {
            Pace::Real => {
                let delay = Duration::from_secs(probe.initial_delay);
                let later = now + Duration::from_nanos(1);
                beat(
                    ticking,
                    period(probe),
                    later.max((now + delay).saturating_sub(part)),
                )
            }
            Pace::Fast => now + pace.scale(Duration::from_secs(probe.initial_delay.max(1))),
        };
        let of = |kind, probe: &Option<Probe>| {
            probe.clone().map(|probe| Worker {
                next: first(&probe),
                kind,
                probe,
                in_flight: false,
                successes: 0,
                failures: 0,
                healthy: None,
            })
        };
        let workers = [
            of(ProbeKind::Startup, &container.startup),
            of(ProbeKind::Liveness, &container.liveness),
            of(ProbeKind::Readiness, &container.readiness),
        ];
        Self {
            workers: workers.into_iter().flatten().collect(),
            started_at: now,
            ticking,
        }
    }

    fn worker(&self, kind: ProbeKind) -> Option<&Worker> {
        self.workers.iter().find(|w| w.kind == kind)
    }

    /// The command of a probe that runs one.
    pub fn command(&self, kind: ProbeKind) -> Option<&[String]> {
        match &self.worker(kind)?.probe.action {
            ProbeAction::Exec(command) => Some(command),
            _ => None,
        }
    }

    /// Whether the startup probe succeeded (or there is none).
    pub fn started(&self) -> bool {
        self.worker(ProbeKind::Startup)
            .is_none_or(|w| w.healthy == Some(true))
    }

    /// Whether the container counts as ready.
    pub fn ready(&self) -> bool {
        self.started()
            && self
                .worker(ProbeKind::Readiness)
                .is_none_or(|w| w.healthy == Some(true))
    }

    /// When the container was started.
    pub fn started_at(&self) -> Duration {
        self.started_at
    }

    /// The next time a probe is due; `None` while all wait for answers.
    pub fn deadline(&self) -> Option<Duration> {
        let started = self.started();
        let waiting = self
            .workers
            .iter()
            .filter(|w| !w.in_flight && Self::active(w.kind, started));
        waiting.map(|w| w.next).min()
    }

    fn active(kind: ProbeKind, started: bool) -> bool {
        (kind == ProbeKind::Startup) != started
    }

    /// The probes due now; they are in flight from now on.
    pub fn due(&mut self, now: Duration) -> Vec<(ProbeKind, Probe)> {
        let started = self.started();
        let mut due = Vec::new();
        for worker in &mut self.workers {
            if !worker.in_flight && Self::active(worker.kind, started) && worker.next <= now {
                worker.in_flight = true;
                due.push((worker.kind, worker.probe.clone()));
            }
        }
        due
    }

    /// Takes an answer in. In fast pace probes come quickly until the container is healthy, then
    /// at their real period: an idle lab must not fill its audit log with probes.
    pub fn answer(
        &mut self,
        kind: ProbeKind,
        ok: Option<bool>,
        now: Duration,
        pace: Pace,
    ) -> Verdict {
        const FASTEST: Duration = Duration::from_millis(40);
        let was_started = self.started();
        let ticking = self.ticking;
        let Some(worker) = self.workers.iter_mut().find(|w| w.kind == kind) else {
            return Verdict::None;
        };
        worker.in_flight = false;
        let period = period(&worker.probe);
        match ok {
            Some(true) => {
                worker.successes += 1;
                worker.failures = 0;
                if worker.successes >= worker.probe.success_threshold {
                    worker.healthy = Some(true);
                }
            }
            Some(false) => {
                worker.failures += 1;
                worker.successes = 0;
            }
            None => {}
        }
        let unhealthy = worker.failures >= worker.probe.failure_threshold;
        if unhealthy {
            worker.healthy = Some(false);
        }
        let settled = worker.healthy == Some(true) && worker.failures == 0;
        worker.next = match pace {
            Pace::Real => beat(ticking, period, now + Duration::from_nanos(1)),
            Pace::Fast if settled => now + period,
            Pace::Fast => now + pace.scale(period).max(FASTEST),
        };
        let restart = unhealthy && kind != ProbeKind::Readiness;
        if !was_started && self.started() {
            // The others are triggered at once.
            for worker in self
                .workers
                .iter_mut()
                .filter(|w| w.kind != ProbeKind::Startup)
            {
                worker.next = now;
            }
        }
        if restart {
            Verdict::Restart
        } else {
            Verdict::None
        }
    }
}

fn period(probe: &Probe) -> Duration {
    Duration::from_secs(probe.period.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::StaticPod;

    /// So long after the node came up, on a whole second and some milliseconds.
    fn moment(millis: u64) -> Moment {
        let start: jiff::Timestamp = "2026-11-24T07:00:00Z".parse().unwrap();
        let at = Duration::from_millis(millis);
        let wall = start.checked_add(at).unwrap();
        Moment { at, wall }
    }

    fn container() -> Container {
        let text = include_str!("../../../../fixtures/golden/static-pod/baseline.yaml");
        let pod = StaticPod::parse("/p", text.as_bytes(), "n").unwrap();
        pod.containers[0].clone()
    }

    #[test]
    fn readiness_waits_for_startup() {
        let at = Duration::from_secs;
        let mut probes = Probes::start(&container(), moment(100_000), at(100), Pace::Real);
        assert_eq!(probes.deadline(), Some(at(110)));
        assert_eq!(probes.due(at(109)), []);
        assert_eq!(probes.due(at(110)).len(), 1);
        assert_eq!(probes.deadline(), None);
        let verdict = probes.answer(ProbeKind::Startup, Some(true), at(110), Pace::Real);
        assert_eq!(verdict, Verdict::None);
        assert!(probes.started() && !probes.ready());
        assert_eq!(probes.due(at(110)).len(), 2);
        probes.answer(ProbeKind::Readiness, Some(true), at(110), Pace::Real);
        assert!(probes.ready());
    }

    #[test]
    fn the_initial_delay_counts_from_a_whole_second() {
        let start = |millis, since| {
            let since = Duration::from_millis(since);
            let probes = Probes::start(&container(), moment(millis), since, Pace::Real);
            probes.deadline().map(|at| at.as_millis())
        };
        // As recorded: most are asked first at the second tick, some at the first one.
        assert_eq!(start(12_080, 11_680), Some(31_680));
        assert_eq!(start(15_700, 15_100), Some(25_100));
        assert_eq!(start(15_000, 15_000), Some(25_000));
    }

    #[test]
    fn startup_gives_up_after_its_threshold() {
        let at = Duration::from_secs;
        let mut probes = Probes::start(&container(), moment(0), at(0), Pace::Real);
        for n in 1..=24 {
            assert_eq!(probes.due(at(n * 10)).len(), 1);
            let verdict = probes.answer(ProbeKind::Startup, Some(false), at(n * 10), Pace::Real);
            assert_eq!(verdict == Verdict::Restart, n == 24);
        }
    }
}
