//! What prices will do, in words.

use weir::features::cost::config::{Case, Dollars, Price, PriceMatch, Rates};
use weir::settings::Config;

/// So many models of a price are named; of more, how many there are.
const NAMED: usize = 4;

/// What calls cost, a sentence each; nothing where nothing has a price.
pub fn describe(config: &Config) -> Vec<String> {
    if config.prices.is_empty() {
        return Vec::new();
    }
    let mut said: Vec<String> = config.prices.iter().map(price).collect();
    said.push(
        "A call costs what the most specific price says that fits it, exactly, rounded once to a nano-dollar; one that none fits \
         has no cost."
            .into(),
    );
    if config.usage.estimate {
        said.push("Where tokens are estimated the cost is that of the estimate.".into());
    }
    said
}

/// What is right but probably not meant.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut said = Vec::new();
    for (at, price) in config.prices.iter().enumerate() {
        let mut warn = |key: &str, why: &str| said.push(format!("prices[{at}].{key}: {why}"));
        let rates = &price.per_million;
        let tells = |of: fn(&Rates) -> Option<Dollars>| {
            of(rates).is_some() || price.cases.iter().any(|case| of(&case.per_million).is_some())
        };
        if tells(|rates| rates.output) && !tells(|rates| rates.input) {
            warn("per_million", "without `input`: the input is free.");
        }
        if tells(|rates| rates.input) && rates.output.is_none() && !is_input_alone(price) {
            warn("per_million", "without `output`: the output is free.");
        }
        let same = config.prices.iter().take(at).any(|other| {
            other.matches == price.matches
                && !price.models.is_empty()
                && price.models.iter().all(|name| other.models.contains(name))
        });
        if same {
            warn("models", "an earlier price has them all, and counts.");
        }
    }
    said
}

/// Embeddings have no output.
fn is_input_alone(price: &Price) -> bool {
    let kind = price.matches.kind.as_deref();
    kind.is_some_and(|kind| kind != "model") || price.models.iter().all(|name| name.contains("embed"))
}

fn price(price: &Price) -> String {
    let mut paid = rates(&price.per_million);
    let once = [(price.per_call, "a call that is answered"), (price.per_second, "a second")];
    paid.extend(once.iter().filter_map(|(dollars, what)| Some(format!("{} $ {what}", amount((*dollars)?)))));
    let cases: Vec<String> = price.cases.iter().map(case).collect();
    let paid = if paid.is_empty() { "nothing".to_owned() } else { paid.join(", ") };
    match &cases[..] {
        [] => format!("Price of {}: {paid}.", what(price)),
        cases => format!("Price of {}: {paid}; {}.", what(price), cases.join("; ")),
    }
}

fn what(price: &Price) -> String {
    let PriceMatch { kind, tool, route, path, host } = &price.matches;
    let keys = [("kind", kind), ("tool", tool), ("route", route), ("path", path), ("host", host)];
    let mut of: Vec<String> = Vec::new();
    let names: Vec<String> = price.models.iter().map(|name| format!("`{name}`")).collect();
    if names.len() > NAMED {
        of.push(format!("{} and {} more models", names[..NAMED - 1].join(", "), names.len() + 1 - NAMED));
    } else if !names.is_empty() {
        of.push(names.join(", "));
    }
    of.extend(keys.iter().filter_map(|(key, value)| Some(format!("{key} `{}`", (*value).as_deref()?))));
    of.join(" with ")
}

fn case(case: &Case) -> String {
    let when = match (&case.tier, case.above) {
        (Some(tier), Some(above)) => format!("in tier `{tier}` above {} tokens of input", super::limits::number(above)),
        (Some(tier), None) => format!("in tier `{tier}`"),
        (None, above) => format!("above {} tokens of input", super::limits::number(above.unwrap_or(0))),
    };
    format!("{when} {}", rates(&case.per_million).join(", "))
}

/// The first says what all are.
fn rates(rates: &Rates) -> Vec<String> {
    let Rates { input, output, cache_read, cache_write, cache_write_1h, reasoning, audio_input, audio_output } = *rates;
    let all = [
        (input, "input"),
        (cache_read, "from a cache"),
        (cache_write, "to a cache"),
        (cache_write_1h, "to a cache for an hour"),
        (audio_input, "sound in"),
        (output, "output"),
        (reasoning, "reasoning"),
        (audio_output, "sound out"),
    ];
    let mut said: Vec<String> =
        all.iter().filter_map(|(rate, what)| Some(format!("{} $ {what}", amount((*rate)?)))).collect();
    if let Some(first) = said.first_mut() {
        *first = format!("for a million tokens {first}");
    }
    said
}

fn amount(dollars: Dollars) -> String {
    String::from(dollars)
}
