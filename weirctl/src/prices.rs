//! `weirctl prices`: the config's `prices` for some models, from LiteLLM's public price file.

mod decimal;
mod file;
mod seen;
mod terms;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use weir::features::cost::config::MAX_NAMES;
use weir::features::cost::price::like;
use weir::settings::Config;

use crate::access_log;

pub use file::{File, Place};
pub use seen::Seen;
pub use terms::{Entry, Read, Terms};

/// Arguments of `weirctl prices`.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["models", "seen"])))]
pub struct Arguments {
    /// LiteLLM's model_prices_and_context_window.json.
    #[arg(long)]
    from: PathBuf,
    /// Models by name, a `*` for any characters; `NAME=KEY` for one that stands in the file under another name.
    #[arg(long, value_delimiter = ',')]
    models: Vec<String>,
    /// Access logs with weir's records, gzipped or not: the models that they name. `-` is standard input.
    #[arg(long, value_name = "LOG")]
    seen: Vec<PathBuf>,
    /// Providers whose prices are to be taken, by their names in the file: the first that has a model.
    #[arg(long, value_delimiter = ',')]
    provider: Vec<String>,
    /// Print what is said on standard error as JSON too: one object with everything.
    #[arg(long)]
    json: bool,
}

/// Prices, and all that has to be said of them.
#[derive(Debug, Default)]
pub struct Made {
    /// The config's `prices`.
    pub prices: Vec<Value>,
    /// Where each name was found.
    pub from: BTreeMap<String, String>,
    /// Names that have no price in the file.
    pub not_found: BTreeSet<String>,
    /// Names of which the file has nothing that weir could charge.
    pub without_price: BTreeSet<String>,
    /// What has another price elsewhere: name, where it was taken from, where else it could have been.
    pub doubtful: Vec<(String, String, Vec<String>)>,
    /// Rounded values: key of the model, key of the price, text, what it became.
    pub rounded: Vec<(String, String, String, String)>,
    /// What weir does not charge: key of the model, keys of prices.
    pub unpaid: BTreeMap<String, Vec<String>>,
}

/// Makes them. The exit code is 1 if a model that was asked for by name is not there.
///
/// # Errors
/// Files that cannot be read, a file of another shape, no price at all.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let file = File::open(&arguments.from)?;
    let mut seen = Seen::default();
    for log in &arguments.seen {
        let read = access_log::open(log, &ProgressBar::hidden()).map_err(Into::into).and_then(|log| seen.read(log));
        read.with_context(|| format!("cannot read {}", log.display()))?;
    }
    ensure!(arguments.seen.is_empty() || seen.records > 0, "{}: no records of weir", list(&arguments.seen));
    let mut wanted = Wanted::new(&file, &arguments.provider);
    for model in &arguments.models {
        wanted.named(model);
    }
    let missing = !wanted.made.not_found.is_empty();
    seen.names().for_each(|name| wanted.seen(name));
    let made = wanted.made();
    // The reader of configs has the last word: too many prices, for one.
    if let Err(refused) = Config::parse(made.config().to_string().as_bytes()) {
        bail!("{}: no config can have these prices: {refused}", arguments.from.display());
    }
    say(&made, &seen, arguments);
    if made.prices.is_empty() {
        bail!("{}: none of the models has a price there", arguments.from.display());
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Models whose prices are wanted.
#[derive(Debug)]
pub struct Wanted<'f> {
    file: &'f File,
    providers: &'f [String],
    made: Made,
    names: BTreeMap<String, Terms>,
    read: BTreeSet<String>,
}

impl<'f> Wanted<'f> {
    /// None yet.
    pub fn new(file: &'f File, providers: &'f [String]) -> Self {
        Self { file, providers, made: Made::default(), names: BTreeMap::new(), read: BTreeSet::new() }
    }

    /// A model as somebody names it who has the file before them.
    pub fn named(&mut self, model: &str) {
        let file = self.file;
        if let Some((name, key)) = model.split_once('=') {
            return self.add(name, key);
        }
        if model.contains('*') && file.read(model).is_none() {
            let keys: Vec<&str> = file.keys().filter(|key| like(model, key)).collect();
            if keys.is_empty() {
                self.made.not_found.insert(model.to_owned());
            }
            return keys.into_iter().for_each(|key| self.add(file.wire_name(key), key));
        }
        match self.place(model) {
            Some(key) if key == model => self.add(file.wire_name(&key), &key),
            Some(key) => self.add(model, &key),
            None => {}
        }
    }

    /// A model as a record names it.
    pub fn seen(&mut self, model: &str) {
        if let Some(key) = self.place(model) {
            self.add(model, &key);
        }
    }

    fn place(&mut self, model: &str) -> Option<String> {
        let Some(place) = self.file.find(model, self.providers) else {
            self.made.not_found.insert(model.to_owned());
            return None;
        };
        let new = !self.made.from.contains_key(model);
        if new && (!place.others.is_empty() || !place.literal && !place.key.ends_with(&format!("/{model}"))) {
            self.made.doubtful.push((model.to_owned(), place.key.clone(), place.others));
        }
        Some(place.key)
    }

    fn add(&mut self, name: &str, key: &str) {
        let Some(read) = self.file.read(key) else {
            self.made.not_found.insert(key.to_owned());
            return;
        };
        if self.read.insert(key.to_owned()) {
            let rounded = read.rounded.into_iter();
            self.made.rounded.extend(rounded.map(|(price, text, became)| (key.to_owned(), price, text, became)));
            if !read.unpaid.is_empty() {
                self.made.unpaid.insert(key.to_owned(), read.unpaid);
            }
        }
        if read.terms.is_empty() {
            self.made.without_price.insert(name.to_owned());
            return;
        }
        match self.names.get(name) {
            // Two providers' models of one name, where nobody said which.
            Some(there) if *there != read.terms => {
                let taken = self.made.from.get(name).cloned().unwrap_or_default();
                match self.made.doubtful.iter_mut().find(|(other, ..)| other == name) {
                    Some((.., others)) => others.push(key.to_owned()),
                    None => self.made.doubtful.push((name.to_owned(), taken, vec![key.to_owned()])),
                }
            }
            Some(_) => {}
            None => {
                self.names.insert(name.to_owned(), read.terms);
                self.made.from.insert(name.to_owned(), key.to_owned());
            }
        }
    }

    /// What came of it: models of one price together.
    pub fn made(self) -> Made {
        let mut by_terms: BTreeMap<&Terms, Vec<String>> = BTreeMap::new();
        for (name, terms) in &self.names {
            by_terms.entry(terms).or_default().push(name.clone());
        }
        let mut prices: Vec<(&Terms, &[String])> =
            by_terms.iter().flat_map(|(terms, names)| names.chunks(MAX_NAMES).map(|names| (*terms, names))).collect();
        prices.sort_by_key(|(_, names)| *names);
        let prices = prices.into_iter().map(|(terms, names)| terms.price(names)).collect();
        Made { prices, ..self.made }
    }
}

impl Made {
    /// The section, as a config of nothing else.
    pub fn config(&self) -> Value {
        json!({"prices": self.prices})
    }
}

fn say(made: &Made, seen: &Seen, arguments: &Arguments) {
    let from = arguments.from.display();
    let priced = |name: &Option<String>| name.as_deref().is_some_and(|name| made.from.contains_key(name));
    let calls: u64 = seen.calls.values().sum();
    let unpriced: u64 = seen.calls.iter().filter(|((a, b), _)| !priced(a) && !priced(b)).map(|(_, calls)| calls).sum();
    if arguments.json {
        let doubtful =
            made.doubtful.iter().map(|(name, key, others)| json!({"model": name, "from": key, "others": others}));
        let rounded = made.rounded.iter().map(
            |(model, price, text, became)| json!({"model": model, "key": price, "value": text, "rounded": became}),
        );
        println!(
            "{:#}",
            json!({
                "prices": made.prices, "from": made.from, "not_found": made.not_found, "without_price": made.without_price,
                "doubtful": doubtful.collect::<Vec<_>>(), "rounded": rounded.collect::<Vec<_>>(), "unpaid": made.unpaid,
                "calls": calls, "calls_without_price": unpriced,
            })
        );
    } else if !made.prices.is_empty() {
        println!("{:#}", made.config());
    }
    let named = |name: &str| {
        let calls: u64 =
            seen.calls.iter().filter(|((a, b), _)| [a, b].contains(&&Some(name.to_owned()))).map(|(_, n)| n).sum();
        if calls == 0 { String::new() } else { format!(", in calls: {calls}") }
    };
    for name in &made.not_found {
        eprintln!("{from}: no model `{name}`{}", named(name));
    }
    for name in &made.without_price {
        eprintln!("{from}: `{name}` has no price that weir can charge{}", named(name));
    }
    for (name, key, others) in &made.doubtful {
        match others[..] {
            [] => eprintln!("`{name}`: priced as `{key}`"),
            _ => eprintln!("`{name}`: priced as `{key}`; other prices: {}", others.join(", ")),
        }
    }
    for (model, price, text, became) in &made.rounded {
        eprintln!("`{model}`: {price} {text} is rounded to {became} dollars, for a million tokens, a call or a second");
    }
    for (model, keys) in &made.unpaid {
        eprintln!("`{model}`: not charged: {}", keys.join(", "));
    }
    if unpriced > 0 {
        eprintln!("{unpriced} of {calls} calls have no price");
    }
}
