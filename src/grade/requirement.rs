//! Whether a decision of a policy is what is asked of a request, and what is missing, in words.

use crate::audit::evaluate::{Attributes, Decision};
use crate::audit::level::{Level, Stage};
use crate::audit::outcome::{answers_with_body, sends_body, stages};
use crate::scenario::definition::{PolicyGoal, Stages, Strictness};
use crate::scenario::policy_check::{Compare, ManagedFields, PolicyCheck};

/// What is asked of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    level: Option<(Compare, Level)>,
    /// Stages, and whether there must be an entry.
    stages: Vec<(Stage, bool)>,
    /// Whether managed fields are left out of bodies.
    omit_managed: Option<bool>,
}

/// What is not as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss {
    /// The level, which must be this.
    Level(Compare, Level),
    /// There is no entry of the stage, or (false) there is one.
    Stage(Stage, bool),
    /// Managed fields must be left out, or (false) kept.
    ManagedFields(bool),
}

/// The level at which anything is recorded: where every stage of the request is left out, nothing is.
pub(super) fn effective(request: &Attributes, decision: &Decision) -> Level {
    let any = stages(request)
        .iter()
        .any(|stage| !decision.omit_stages.contains(stage));
    if any { decision.level } else { Level::None }
}

impl Wanted {
    /// What a check asks of a request with which the reference policy does `reference`.
    pub fn of(
        check: &PolicyCheck,
        goal: &PolicyGoal,
        request: &Attributes,
        reference: &Decision,
    ) -> Self {
        let compare = if check.stages_only {
            Compare::None
        } else {
            check.compare
        };
        let level = check.level.unwrap_or(effective(request, reference));
        let end = (Stage::ResponseComplete, true);
        let stages = match &check.stages {
            Some(wanted) => {
                let yes = wanted.recorded.iter().map(|stage| (*stage, true));
                let no = wanted.left_out.iter().map(|stage| (*stage, false));
                yes.chain(no).collect()
            }
            // What may be more or less is not held to the reference's stages.
            None if level == Level::None
                || matches!(compare, Compare::AtLeast | Compare::AtMost) =>
            {
                Vec::new()
            }
            None if check.level.is_some() || goal.stages == Stages::Any => vec![end],
            None => stages(request)
                .into_iter()
                .map(|stage| (stage, !reference.omit_stages.contains(&stage)))
                .collect(),
        };
        let omit_managed = match check.managed_fields {
            Some(ManagedFields::Kept) => Some(false),
            Some(ManagedFields::Omitted) => Some(true),
            Some(ManagedFields::Any) => None,
            None if goal.managed_fields == Strictness::Exactly && level != Level::None => {
                Some(reference.omit_managed_fields)
            }
            None => None,
        };
        Self {
            level: (compare != Compare::None).then_some((compare, level)),
            stages,
            omit_managed,
        }
    }

    /// The first thing that is not as asked.
    pub fn miss(&self, request: &Attributes, got: &Decision) -> Option<Miss> {
        let level = effective(request, got);
        if let Some((compare, wanted)) = self.level {
            let fits = match compare {
                Compare::Exactly => level == wanted,
                Compare::AtLeast => level >= wanted,
                Compare::AtMost => level <= wanted,
                Compare::None => true,
            };
            if !fits {
                return Some(Miss::Level(compare, wanted));
            }
        }
        if level == Level::None {
            return None;
        }
        let possible = stages(request);
        for (stage, wanted) in &self.stages {
            let written = !got.omit_stages.contains(stage);
            if possible.contains(stage) && written != *wanted {
                return Some(Miss::Stage(*stage, *wanted));
            }
        }
        let bodies = (level >= Level::Request && sends_body(request) == Some(true))
            || (level >= Level::RequestResponse && answers_with_body(request));
        self.omit_managed
            .filter(|omit| bodies && *omit != got.omit_managed_fields)
            .map(Miss::ManagedFields)
    }
}

impl Miss {
    /// What is asked, in words.
    pub fn wanted(self) -> String {
        match self {
            Miss::Level(Compare::AtLeast, level) => format!("{} or more", level_words(level)),
            Miss::Level(Compare::AtMost, level) if level > Level::None => {
                format!("{} or less", level_words(level))
            }
            Miss::Level(_, level) => level_words(level),
            Miss::Stage(stage, true) => format!("an entry of the stage {}", stage.name()),
            Miss::Stage(stage, false) => format!("no entry of the stage {}", stage.name()),
            Miss::ManagedFields(true) => "bodies without managed fields".to_owned(),
            Miss::ManagedFields(false) => "bodies with their managed fields".to_owned(),
        }
    }

    /// What there is instead, in words.
    pub fn got(self, request: &Attributes, got: &Decision) -> String {
        match self {
            Miss::Level(..) => level_words(effective(request, got)),
            Miss::Stage(stage, true) => format!("no entry of the stage {}", stage.name()),
            Miss::Stage(stage, false) => format!("an entry of the stage {}", stage.name()),
            Miss::ManagedFields(true) => "bodies with managed fields".to_owned(),
            Miss::ManagedFields(false) => "bodies without managed fields".to_owned(),
        }
    }
}

fn level_words(level: Level) -> String {
    match level {
        Level::None => "not recorded".to_owned(),
        Level::Metadata => "level Metadata (without bodies)".to_owned(),
        Level::Request => "level Request (with the body of the request)".to_owned(),
        Level::RequestResponse => "level RequestResponse (with both bodies)".to_owned(),
    }
}
