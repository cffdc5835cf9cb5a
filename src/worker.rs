//! What one worker's VM keeps between calls: config, label tables, estimators, and what its features keep. A reconfigure swaps the
//! config; running streams keep theirs.

use std::borrow::Cow;
use std::rc::Rc;

use crate::call::finished::Finished;
use crate::call::subject::Wants;
use crate::features::Shared;
use crate::labels::{Label, LabelSet, Labels};
use crate::metrics::{self, Names, Numbers};
use crate::settings::Config;
use crate::signals::estimate::Estimator;
use crate::signals::size::SizeEstimator;

/// One worker's VM.
#[derive(Debug)]
pub struct Worker {
    /// The config in force for new calls.
    pub config: Rc<Config>,
    /// Label values seen so far.
    pub labels: Labels,
    /// What a token is worth in bytes, by model.
    pub estimator: Estimator,
    /// How large calls are.
    pub sizes: SizeEstimator,
    /// What features keep.
    pub shared: Shared,
    /// What features want to know when a call comes.
    pub wants: Wants,
}

impl Worker {
    /// A worker with this config and nothing seen yet.
    pub fn new(config: Config) -> Self {
        let bounds = &config.labels;
        let label = |known: &[String], cap| Label::new(known.iter().map(String::as_str), cap);
        let labels = Labels::new(
            label(&bounds.models, bounds.max_models.into()),
            label(&bounds.routes, bounds.max_routes.into()),
            label(&bounds.tenants, bounds.max_tenants.into()),
            Label::new([], 64),
            bounds.max_sets.get() as usize,
        );
        let shared = Shared::new(&config);
        let wants = shared.wants();
        let (estimator, sizes) = Default::default();
        Self { config: Rc::new(config), labels, estimator, sizes, shared, wants }
    }

    /// The labels of a call that is over.
    pub fn label_set(&mut self, call: &Finished<'_>) -> LabelSet {
        // A made-up name must not take a real one's place: only an upstream's success vouches for it.
        let vouched = call.reached && call.status.is_some_and(|status| (200..300).contains(&status));
        let (labels, subject) = (&mut self.labels, call.known.subject);
        let set = LabelSet {
            model: labels.model.number(call.model, vouched),
            route: labels.route.number(subject.route.as_deref(), true),
            tenant: labels.tenant.number(subject.tenant.as_deref(), vouched),
            api: labels.api.number(Some(subject.asked.api.name()), true),
        };
        labels.bounded(set)
    }
}

impl Names for Worker {
    fn text(&self, label: metrics::Label, number: u16, at: Numbers) -> Cow<'_, str> {
        match label {
            metrics::Label::Model => self.labels.model.value(number).into(),
            metrics::Label::Route => self.labels.route.value(number).into(),
            metrics::Label::Tenant => self.labels.tenant.value(number).into(),
            metrics::Label::Api => self.labels.api.value(number).into(),
            other => self.shared.label(other, number, at),
        }
    }
}
