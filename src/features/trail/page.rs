//! A trail as one page, for the person in front of the agent: no script, nothing from elsewhere, every text escaped.
//!
//! Whatever a name is, it stays a text: `<`, `>`, `&` and quotes are references, and characters that would be seen as
//! something else (controls, changes of direction) are shown as �. Bars are drawn in SVG, whose attributes the page's
//! policy needs no exception for.

use super::entry::{Call, Step};
use super::run::Run;

/// What a browser may do with the page: nothing but show it, with the style that has this hash.
pub const POLICY: &str = "default-src 'none'; style-src 'sha256-acJLrAR+62ao35R7vbNz6Zo1MRlLglB6jCXXiblsCfY='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page's style.
pub const STYLE: &str = include_str!("page.css");

/// A thousandth of a dollar and one dollar, in nano-dollars.
const MILLI: u64 = 1_000_000;
const DOLLAR: u64 = 1_000_000_000;

/// Kinds that have a colour of their own.
const KINDS: [&str; 7] = ["model", "tool", "retrieval", "rerank", "embedding", "guardrail", "observability"];

/// Width of a bar, in its own units.
const BAR: u64 = 1000;

/// The page of a run.
#[inline(never)]
pub fn page(tenant: Option<&str>, name: &str, run: &Run) -> String {
    let mut to = Page(String::with_capacity(4096 + run.calls.len() * 1024));
    to.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    to.raw("<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"robots\" content=\"noindex\"><title>What the agent did</title><style>");
    to.raw(STYLE);
    to.raw("</style></head><body><main><header><h1>What the agent did</h1><p class=\"run\">Run ");
    to.code(name);
    if let Some(tenant) = tenant {
        to.raw(" of ");
        to.code(tenant);
    }
    to.raw("<br>");
    to.raw(&date(run.began_us));
    to.raw("</p></header>");
    summary(&mut to, run);
    verdict(&mut to, run);
    kinds(&mut to, run);
    to.raw("<h2>Step by step</h2><ol>");
    if run.dropped > 0 {
        to.raw("<li class=\"gone\"><p>");
        to.raw(&if run.dropped == 1 {
            "The first step is".to_owned()
        } else {
            format!("The first {} steps are", grouped(run.dropped))
        });
        to.raw(" no longer kept here. The totals above still count them.</p></li>");
    }
    for (call, n) in run.calls.iter().zip(run.dropped.saturating_add(1)..) {
        step(&mut to, run, call, n);
    }
    to.raw("</ol><footer><p>Seen by the proxy that the agent’s calls pass through, in the order in which they ended. Prompts and answers are not kept. Costs are worked out from a price list.</p></footer></main></body></html>");
    to.0
}

/// Text in the making.
struct Page(String);

impl Page {
    /// What is meant as HTML.
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// What is meant as text, wherever it comes from.
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                '\'' => self.raw("&#39;"),
                '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                    self.0.push('\u{fffd}')
                }
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
    }

    /// A name.
    fn code(&mut self, text: &str) {
        self.raw("<code>");
        self.text(text);
        self.raw("</code>");
    }

    /// Names, one after the other.
    fn codes<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for (at, name) in names.enumerate() {
            if at > 0 {
                self.raw(", ");
            }
            self.code(name);
        }
    }

    /// A figure and what it is.
    fn figure(&mut self, name: &str, value: &str, more: &str) {
        self.raw("<div><dt>");
        self.raw(name);
        self.raw("</dt><dd>");
        self.text(value);
        if !more.is_empty() {
            self.raw("<small>");
            self.text(more);
            self.raw("</small>");
        }
        self.raw("</dd></div>");
    }

    /// A small label.
    fn tag(&mut self, class: &str, lead: &str, name: &str) {
        self.raw("<li class=\"");
        self.raw(class);
        self.raw("\">");
        self.raw(lead);
        if !name.is_empty() {
            self.raw(" ");
            self.code(name);
        }
        self.raw("</li>");
    }
}

fn summary(to: &mut Page, run: &Run) {
    let totals = &run.totals;
    let failed = match totals.failed {
        0 => "all went well".to_owned(),
        failed => format!("{} went wrong", grouped(failed)),
    };
    let wasted = if totals.waste > 0 { format!("{} of it wasted", dollars(totals.waste)) } else { String::new() };
    to.raw("<dl class=\"figures\">");
    to.figure(if totals.calls == 1 { "Step" } else { "Steps" }, &grouped(totals.calls), &failed);
    to.figure("Cost", &dollars(totals.cost), &wasted);
    to.figure("Time", &span(run.ended_us.saturating_sub(run.began_us)), "");
    let tokens = totals.input.saturating_add(totals.output);
    let read = if tokens > 0 {
        format!("{} read, {} written", short(totals.input), short(totals.output))
    } else {
        String::new()
    };
    to.figure("Tokens", &short(tokens), &read);
    to.raw("</dl>");
}

/// Whether it kept to its plan, if it had one.
fn verdict(to: &mut Page, run: &Run) {
    let adherence = run.adherence.map(|percent| format!(" It kept to {percent}\u{a0}% of it."));
    let Some(left) = &run.left else {
        if run.adherence.is_some() {
            to.raw("<p class=\"plan kept\"><b>It kept to its plan.</b></p>");
        }
        return;
    };
    to.raw("<p class=\"plan left\"><b>It left its plan</b> ");
    if left.at > run.dropped {
        to.raw(&format!("at <a href=\"#step-{0}\">step {0}</a>", left.at));
    } else {
        to.raw(&format!("at step {}", left.at));
    }
    to.raw(": ");
    instead(to, &left.expected, &left.got);
    to.raw(".");
    to.raw(&adherence.unwrap_or_default());
    to.raw("</p>");
}

fn instead(to: &mut Page, expected: &str, got: &str) {
    match (expected.is_empty(), got.is_empty()) {
        (false, false) => {
            to.code(expected);
            to.raw(" was planned, ");
            to.code(got);
            to.raw(" was done");
        }
        (false, true) => {
            to.code(expected);
            to.raw(" was planned");
        }
        (true, false) => {
            to.code(got);
            to.raw(" was not planned");
        }
        (true, true) => to.raw("this was not planned"),
    }
}

/// What each kind of call cost.
fn kinds(to: &mut Page, run: &Run) {
    let kinds = &run.totals.kinds;
    let by_cost = run.totals.cost > 0;
    let whole = if by_cost { run.totals.cost } else { run.totals.calls };
    if kinds.len() < 2 {
        return;
    }
    to.raw(if by_cost { "<h2>Where the money went</h2>" } else { "<h2>Kinds of steps</h2>" });
    to.raw("<svg class=\"bar all\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    let mut sum = 0u64;
    for kind in kinds {
        let from = part(sum, whole);
        sum = sum.saturating_add(if by_cost { kind.cost } else { kind.calls });
        rect(to, class(&kind.kind), from, part(sum, whole).saturating_sub(from), 10);
    }
    to.raw("</svg><ul class=\"legend\">");
    for kind in kinds {
        to.raw(&format!("<li class=\"k-{}\"><span></span>", class(&kind.kind)));
        to.text(&kind.kind);
        to.raw(" <b>");
        to.raw(&if by_cost { dollars(kind.cost) } else { String::new() });
        to.raw("</b> <small>");
        to.raw(&format!("{} {}", grouped(kind.calls), if kind.calls == 1 { "step" } else { "steps" }));
        to.raw("</small></li>");
    }
    to.raw("</ul>");
}

/// So many parts of the whole, in units of a bar.
fn part(of: u64, whole: u64) -> u64 {
    (u128::from(of) * u128::from(BAR)).checked_div(whole.into()).map_or(0, |part| part.min(BAR.into()) as u64)
}

fn rect(to: &mut Page, class: &str, from: u64, width: u64, height: u64) {
    to.raw(&format!("<rect class=\"f-{class}\" x=\"{from}\" y=\"0\" width=\"{width}\" height=\"{height}\"/>"));
}

fn class(kind: &str) -> &'static str {
    KINDS.into_iter().find(|known| *known == kind).unwrap_or("other")
}

fn step(to: &mut Page, run: &Run, call: &Call, n: u64) {
    let bad = call.ended != "complete";
    let strays = call.plan.as_ref().is_some_and(|plan| plan.verdict != "matched");
    to.raw(&format!("<li id=\"step-{n}\" class=\"step k-{}", class(&call.kind)));
    to.raw(if bad { " bad" } else { "" });
    to.raw(if strays { " strays" } else { "" });
    to.raw("\"><h3><span class=\"n\">");
    to.raw(&n.to_string());
    to.raw("</span> ");
    title(to, call);
    if bad {
        to.raw(" <em>");
        to.raw(ending(call.ended));
        to.raw("</em>");
    }
    to.raw("</h3><p class=\"facts\">");
    facts(to, run, call);
    to.raw("</p>");
    bar(to, run, call);
    tags(to, call);
    to.raw("</li>");
}

/// What the step was, in words.
fn title(to: &mut Page, call: &Call) {
    let model = call.model.as_deref();
    let with = |to: &mut Page, words: &str, by: &str| {
        to.raw(words);
        if let Some(model) = model {
            to.raw(by);
            to.code(model);
        }
    };
    match call.kind.as_str() {
        "tool" if call.tools_run.is_empty() => with(to, "Used a tool", ": "),
        "tool" => {
            to.raw("Used ");
            to.codes(call.tools_run.iter().map(|tool| tool.name.as_str()));
        }
        "model" if model.is_some() => with(to, "Asked", " "),
        "model" => to.raw("Asked a model"),
        "embedding" => with(to, "Turned text into numbers", " with "),
        "retrieval" => with(to, "Looked something up", " with "),
        "rerank" => with(to, "Put results in order", " with "),
        "guardrail" => with(to, "Checked against the rules", " with "),
        "observability" => to.raw("Reported what it did"),
        kind => {
            to.raw("Called ");
            to.code(kind);
        }
    }
}

fn ending(ended: &str) -> &'static str {
    match ended {
        "client_abort" => "broken off by the agent",
        "upstream_reset" => "the connection broke",
        "refused" => "not sent",
        "truncated" => "cut short",
        _ => "failed",
    }
}

fn facts(to: &mut Page, run: &Run, call: &Call) {
    let mut fact = |text: String| {
        to.raw("<span>");
        to.text(&text);
        to.raw("</span> ");
    };
    let at = call.began_us.saturating_sub(run.began_us);
    fact(if at == 0 { "at the start".to_owned() } else { format!("after {}", span(at)) });
    if let Some(total) = call.total_us {
        let first = call.first_token_us.map(|first| format!(", first words after {}", span(first)));
        fact(format!("took {}{}", span(total), first.unwrap_or_default()));
    }
    for tool in &call.tools_run {
        if let Some(us) = tool.us {
            fact(format!("{} ran for {}", tool.name, span(us)));
        }
    }
    if let Some(cost) = call.cost {
        fact(dollars(cost));
    }
    let tokens = &call.tokens;
    if let Some(input) = tokens.input {
        let about = if tokens.estimated { "about " } else { "" };
        let output = tokens.output.map(|output| format!(", {} written", grouped(output)));
        fact(format!("{about}{} tokens read{}", grouped(input), output.unwrap_or_default()));
    }
    if let Some(status) = call.status.filter(|status| *status >= 400) {
        fact(format!("status {status}"));
    }
}

/// When in the run it was: waiting for the first token pale, the rest full.
fn bar(to: &mut Page, run: &Run, call: &Call) {
    let whole = run.ended_us.saturating_sub(run.began_us);
    let from = call.began_us.saturating_sub(run.began_us);
    let total = call.total_us.unwrap_or(0);
    // A thing that was is seen, however short it was.
    let width = part(total, whole).max(6);
    let x = part(from, whole).min(BAR.saturating_sub(width));
    to.raw("<svg class=\"bar\" viewBox=\"0 0 1000 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    let waits = call.first_token_us.map_or(0, |first| part(first, whole).min(width));
    rect(to, class(&call.kind), x, width, 6);
    if waits > 0 {
        rect(to, "wait", x, waits, 6);
    }
    to.raw("</svg>");
}

fn tags(to: &mut Page, call: &Call) {
    let mark = to.0.len();
    to.raw("<ul class=\"tags\">");
    let empty = to.0.len();
    if let Some(plan) = call.plan.as_ref() {
        plan_tag(to, plan);
    }
    if let Some(error) = &call.error_type {
        to.tag("warn", "Error", error);
    }
    if let Some(attempt) = call.attempt.filter(|attempt| *attempt > 1) {
        to.tag("warn", &format!("Try {attempt}"), "");
    }
    if let Some(attempts) = call.proxy_attempts {
        to.tag("warn", &format!("The proxy tried {attempts} times"), "");
    }
    for limit in &call.limits {
        let words = match limit.verdict.as_str() {
            "refuse" | "closed" => "Held back by",
            "cut" => "Cut by",
            "waited" => "Waited for",
            "circuit" => "Held back by the circuit of",
            "deadline" => "Too late for",
            "warn" => "Over",
            "shadow" => "Would be held back by",
            _ => "Undecided by",
        };
        to.tag("warn", words, &limit.name);
    }
    for tool in call.tools_run.iter().filter(|tool| tool.outcome != "ok") {
        let words = match tool.outcome.as_str() {
            "error" => "Reports an error:",
            "unread" => "Answer too large to be read:",
            _ => "Did not answer:",
        };
        to.tag("warn", words, &tool.name);
    }
    if call.waste > 0 {
        let why = match call.waste_reason.as_deref() {
            Some("retried") => " on a retry",
            Some("cancelled") => ", broken off",
            Some("duplicated") => ", done twice",
            _ => "",
        };
        to.tag("warn", &format!("{} wasted{why}", dollars(call.waste)), "");
    }
    for tool in &call.tools_asked {
        to.tag("", "Wants", tool);
    }
    for source in &call.sources {
        to.tag("", "Source", source);
    }
    if call.left_out > 0 {
        to.tag("", &format!("and {} more", grouped(call.left_out)), "");
    }
    if to.0.len() == empty {
        to.0.truncate(mark);
    } else {
        to.raw("</ul>");
    }
}

fn plan_tag(to: &mut Page, plan: &Step) {
    let step = plan.step.map(|step| format!("step {step} of {}", plan.of)).unwrap_or_default();
    if plan.verdict == "matched" {
        return to.tag("good", &format!("As planned{}{step}", if step.is_empty() { "" } else { ": " }), "");
    }
    to.raw("<li class=\"bad\">");
    to.raw(match plan.verdict.as_str() {
        "skipped" => "Skipped a planned step",
        "out_of_order" => "Out of order",
        "wrong_target" => "Not what was planned",
        _ => "Not planned",
    });
    let expected = plan.expected.as_deref().unwrap_or_default();
    if !expected.is_empty() {
        to.raw(": ");
        instead(to, expected, plan.got.as_deref().unwrap_or_default());
    }
    if !step.is_empty() {
        to.raw(&format!(" ({step})"));
    }
    to.raw("</li>");
}

/// Money for people: cents where there are dollars, four digits where there are not, two that count where it is less.
pub fn dollars(nano: u64) -> String {
    let scaled = |unit: u64, digits: usize| {
        let rounded = nano / unit + u64::from(nano % unit * 2 >= unit);
        let base = DOLLAR / unit;
        format!("${}.{:0digits$}", grouped(rounded / base), rounded % base)
    };
    match nano {
        0 => "$0".to_owned(),
        DOLLAR.. => scaled(10_000_000, 2),
        MILLI.. => scaled(100_000, 4),
        100_000.. => scaled(10_000, 5),
        10_000.. => scaled(1_000, 6),
        1_000.. => scaled(100, 7),
        100.. => scaled(10, 8),
        _ => scaled(1, 9),
    }
}

/// A span of time for people, of microseconds.
pub fn span(us: u64) -> String {
    let ms = us.saturating_add(500) / 1000;
    let s = us.saturating_add(500_000) / 1_000_000;
    match us {
        0..1_000 => "less than 1\u{a0}ms".to_owned(),
        1_000..999_500 => format!("{ms}\u{a0}ms"),
        999_500..59_950_000 => {
            let tenths = us.saturating_add(50_000) / 100_000;
            format!("{}.{}\u{a0}s", tenths / 10, tenths % 10)
        }
        _ if s < 3600 => format!("{}\u{a0}min {}\u{a0}s", s / 60, s % 60),
        _ if s < 86_400 => format!("{}\u{a0}h {}\u{a0}min", s / 3600, s / 60 % 60),
        _ if s < 172_800 => format!("1\u{a0}day {}\u{a0}h", s / 3600 % 24),
        _ => format!("{} days {}\u{a0}h", grouped(s / 86_400), s / 3600 % 24),
    }
}

/// Thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count in few digits.
fn short(number: u64) -> String {
    let tenths = |unit: u64, name: &str| {
        let tenths = number.saturating_add(unit / 20) / (unit / 10);
        format!("{}.{}{name}", grouped(tenths / 10), tenths % 10)
    };
    match number {
        0..10_000 => grouped(number),
        10_000..999_950 => tenths(1_000, "k"),
        _ => tenths(1_000_000, "M"),
    }
}

/// A moment, of microseconds since 1970: `28 November 2026, 07:11:19 UTC`.
pub fn date(us: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let seconds = us / 1_000_000;
    let days = seconds / 86_400;
    // Years that begin in March, so that a leap day is the last; 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let name = MONTHS.get(((month + 2) % 12) as usize).copied().unwrap_or_default();
    let year = era * 400 + year + u64::from(month >= 10);
    let (h, min, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{of_month} {name} {year}, {h:02}:{min:02}:{s:02} UTC")
}
