//! Cost: what each call costs by the prices of the config, exact in whole nano-dollars (docs/cost.md).

pub mod call;
pub mod config;
pub mod price;
mod stats;

use crate::call::subject::Wants;
use config::{Price, PriceMatch};
use stats::Sets;

/// What one worker keeps of prices.
#[derive(Debug)]
pub struct Shared {
    prices: Vec<Price>,
    wants: Wanted,
    sets: Sets,
}

/// What prices want to know of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    tool: bool,
    route: bool,
    path: bool,
    host: bool,
}

impl Shared {
    /// Of this section.
    pub fn new(prices: &[Price]) -> Self {
        let any = |of: fn(&PriceMatch) -> &Option<String>| prices.iter().any(|price| of(&price.matches).is_some());
        let wants = Wanted {
            tool: any(|matches| &matches.tool),
            route: any(|matches| &matches.route),
            path: any(|matches| &matches.path),
            host: any(|matches| &matches.host),
        };
        Self { prices: prices.to_vec(), wants, sets: Sets::default() }
    }

    /// What prices want to know when a call comes.
    pub fn wants(&self) -> Wants {
        Wants { route: self.wants.route, tool: self.wants.tool, ..Wants::default() }
    }
}
