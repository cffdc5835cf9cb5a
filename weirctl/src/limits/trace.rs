//! A recorded load: when calls came, and how large they were.

use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};

/// A call as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it came, in nanoseconds after the first.
    pub at: u64,
    /// Tokens of its prompt.
    pub input: u64,
    /// Tokens of its answer.
    pub output: u64,
}

/// Calls in the order in which they came; at least two, over some time.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The calls.
    pub calls: Vec<Call>,
    /// From the first to the last, in nanoseconds.
    pub lasts: u64,
}

const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

impl Trace {
    /// Reads a CSV with the columns `TIMESTAMP` (RFC 3339, a blank for the `T`), `ContextTokens` and `GeneratedTokens`.
    ///
    /// # Errors
    /// What is wrong, and in which line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        let head: Vec<&str> =
            lines.next().map(|(_, line)| line.split(',').map(str::trim).collect()).unwrap_or_default();
        let column = |name: &str| head.iter().position(|column| *column == name);
        let places = COLUMNS.map(column);
        let [Some(time), Some(input), Some(output)] = places else {
            bail!("line 1: not the columns {}", COLUMNS.join(", "));
        };
        let mut calls = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let call = call(line, [time, input, output]).with_context(|| format!("line {}", number + 1))?;
            calls.push(call);
        }
        calls.sort_by_key(|(at, ..)| *at);
        let (Some(first), Some(last)) = (calls.first(), calls.last()) else { bail!("no calls") };
        let lasts = nanos(first.0, last.0);
        ensure!(lasts > 0, "all calls came at the same time, so there is no mean use");
        let begins = first.0;
        let calls = calls.into_iter().map(|(at, input, output)| Call { at: nanos(begins, at), input, output });
        Ok(Self { calls: calls.collect(), lasts })
    }

    /// What is used on average, in tokens per minute.
    pub fn tokens_per_minute(&self) -> u64 {
        let all: u128 = self.calls.iter().map(|call| u128::from(call.input) + u128::from(call.output)).sum();
        u64::try_from(all * 60_000_000_000 / u128::from(self.lasts)).unwrap_or(u64::MAX)
    }
}

fn call(line: &str, places: [usize; 3]) -> Result<(SystemTime, u64, u64)> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [time, input, output] = places.map(|place| fields.get(place).copied().unwrap_or_default());
    let time = humantime::parse_rfc3339_weak(time).with_context(|| format!("`{time}` is no time"))?;
    let number =
        |text: &str| text.parse::<u32>().map(u64::from).with_context(|| format!("`{text}` is no number of tokens"));
    Ok((time, number(input)?, number(output)?))
}

fn nanos(from: SystemTime, to: SystemTime) -> u64 {
    to.duration_since(from).map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_whatever_the_order_of_its_columns_and_lines() {
        let text = "GeneratedTokens,TIMESTAMP,ContextTokens,X\n5,2023-11-16 18:18:03.9799600,20,a\r\n1,2023-11-16 18:17:03.97996,10,b\n\n";
        let trace = Trace::parse(text).unwrap();
        let minute = 60_000_000_000;
        let calls = [Call { at: 0, input: 10, output: 1 }, Call { at: minute, input: 20, output: 5 }];
        assert_eq!((&trace.calls[..], trace.lasts, trace.tokens_per_minute()), (&calls[..], minute, 36));
    }

    #[test]
    fn what_is_no_trace_is_told_by_its_line() {
        let head = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,1,1\n";
        for (text, error) in [
            ("", "line 1: not the columns TIMESTAMP, ContextTokens, GeneratedTokens"),
            ("a,b\n", "line 1: not the columns TIMESTAMP, ContextTokens, GeneratedTokens"),
            ("TIMESTAMP,ContextTokens,GeneratedTokens\n", "no calls"),
            (head, "all calls came at the same time, so there is no mean use"),
            (&format!("{head}today,1,1"), "line 3: `today` is no time"),
            (&format!("{head}2023-11-16 18:17:04,1"), "line 3: `` is no number of tokens"),
            (&format!("{head}2023-11-16 18:17:04,-1,3"), "line 3: `-1` is no number of tokens"),
        ] {
            let told = format!("{:#}", Trace::parse(text).unwrap_err());
            assert!(told.starts_with(error), "{text}: {told}");
        }
    }
}
