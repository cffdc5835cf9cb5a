//! Reads the sections `limits` and `admission`.

use std::num::NonZeroU64;

use super::{
    Admission, Amount, Budget, Limit, MaxWait, OnExceeded, OnFull, Per, Rate, Scope, Share, Sharer, Tree, Unit, Weigh,
    Weight, Without, default_idle,
};
use crate::config::json::{Json, Path};
use crate::config::read::{Made, Slot, choices, object, required, sections};
use crate::config::values::{Fail, LimitName, Mode};

choices! {
    Scope { "tenant" => Tenant, "user" => User, "run" => Run, "model" => Model, "route" => Route, "tool" => Tool }
    Sharer { "tenant" => Tenant, "user" => User, "run" => Run }
    Unit { "tokens" => Tokens, "calls" => Calls, "cost" => Cost }
    Per { "second" => Second, "minute" => Minute, "hour" => Hour, "day" => Day }
    OnExceeded { "finish" => Finish, "warn" => Warn, "cut" => Cut }
    OnFull { "allow" => Allow, "refuse" => Refuse }
    Without { "share" => Share, "skip" => Skip, "refuse" => Refuse }
}

sections! {
    Weigh { input, cache_read, cache_write, output, reasoning }
    Admission { hold_headers, max_held_bytes, max_waiting, keys, headers }
}

impl Made for Weight {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.number()?)
    }
}

impl Made for Amount {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(1, Amount::MAX)?)
    }
}

impl Made for MaxWait {
    fn read(from: &Json, _: &mut Path) -> Result<Self, String> {
        Self::try_from(from.whole(0, Self::MAX.into())? as u32)
    }
}

impl Made for Rate {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut limit, mut per, mut burst) = (None, None, None);
        object(from, path, &mut [("limit", &mut limit), ("per", &mut per), ("burst", &mut burst)])?;
        Ok(Self { limit: required(limit, "limit")?, per: required(per, "per")?, burst })
    }
}

impl Made for Budget {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut limit, mut idle_s, mut from_parent) = (None, default_idle(), false);
        let fields: &mut [(&str, &mut dyn Slot)] =
            &mut [("limit", &mut limit), ("idle_s", &mut idle_s), ("from_parent", &mut from_parent)];
        object(from, path, fields)?;
        Ok(Self { limit: required(limit, "limit")?, idle_s, from_parent })
    }
}

impl Made for Tree {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let (mut max_depth, mut max_fanout) = (None, None);
        object(from, path, &mut [("max_depth", &mut max_depth), ("max_fanout", &mut max_fanout)])?;
        if max_depth.is_none() && max_fanout.is_none() {
            return Err("neither `max_depth` nor `max_fanout`".to_owned());
        }
        Ok(Self { max_depth, max_fanout })
    }
}

impl Made for Share {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let mut of = None;
        object(from, path, &mut [("of", &mut of)])?;
        Ok(Self { of: required(of, "of")? })
    }
}

impl Made for Limit {
    fn read(from: &Json, path: &mut Path) -> Result<Self, String> {
        let mut name = None;
        let mut limit = Self {
            name: LimitName::default(),
            scope: Vec::new(),
            matches: Default::default(),
            unit: Unit::default(),
            weigh: Weigh::default(),
            rate: None,
            budget: None,
            concurrency: None::<NonZeroU64>,
            tree: None,
            share: None,
            max_wait_ms: MaxWait::default(),
            on_exceeded: OnExceeded::default(),
            mode: Mode::default(),
            fail: Fail::default(),
            on_full: OnFull::default(),
            without: Without::default(),
        };
        let fields: &mut [(&str, &mut dyn Slot)] = &mut [
            ("name", &mut name),
            ("scope", &mut limit.scope),
            ("match", &mut limit.matches),
            ("unit", &mut limit.unit),
            ("weigh", &mut limit.weigh),
            ("rate", &mut limit.rate),
            ("budget", &mut limit.budget),
            ("concurrency", &mut limit.concurrency),
            ("tree", &mut limit.tree),
            ("share", &mut limit.share),
            ("max_wait_ms", &mut limit.max_wait_ms),
            ("on_exceeded", &mut limit.on_exceeded),
            ("mode", &mut limit.mode),
            ("fail", &mut limit.fail),
            ("on_full", &mut limit.on_full),
            ("without", &mut limit.without),
        ];
        object(from, path, fields)?;
        limit.name = required(name, "name")?;
        limit.fits().map(|()| limit)
    }
}
