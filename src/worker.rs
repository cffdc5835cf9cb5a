//! What one worker's VM keeps between calls: config, label tables, estimators. A reconfigure swaps the config; running
//! streams keep theirs.

use std::rc::Rc;

use crate::config::Config;
use crate::labels::{Label, Labels};
use crate::policies::account::Accounts;
use crate::policies::learned::Learned;
use crate::policies::limits::Limiter;
use crate::policies::plan::Plans;
use crate::policies::retry::Retrier;
use crate::policies::tools::Tools;
use crate::signals::estimate::Estimator;
use crate::signals::kind::Kinds;
use crate::signals::trail::Trails;

/// One worker's VM.
#[derive(Debug)]
pub struct Worker {
    /// The config in force for new calls.
    pub config: Rc<Config>,
    /// Label values seen so far.
    pub labels: Labels,
    /// What a token is worth in bytes, by model.
    pub estimator: Estimator,
    /// The limits, and where they count.
    pub limiter: Limiter,
    /// Retries, and what holds them.
    pub retrier: Retrier,
    /// How much calls write.
    pub learned: Learned,
    /// What kinds calls are.
    pub kinds: Kinds,
    /// The accounts of runs, where there are any.
    pub accounts: Option<Accounts>,
    /// What is known of tools.
    pub tools: Tools,
    /// Trails of runs; nothing if none are kept.
    pub trails: Option<Trails>,
    /// The plans of runs, where anybody looks.
    pub plans: Option<Plans>,
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
        let (limiter, retrier) = (Limiter::new(&config), Retrier::new(&config));
        let (kinds, accounts) = (Kinds::new(&config), Accounts::new(&config));
        let (tools, plans) = (Tools::new(&config), Plans::new(&config));
        let (estimator, learned) = Default::default();
        let trails = config.audit.trail.as_ref().map(Trails::new);
        Self {
            config: Rc::new(config),
            labels,
            estimator,
            limiter,
            retrier,
            learned,
            kinds,
            accounts,
            tools,
            trails,
            plans,
        }
    }
}
