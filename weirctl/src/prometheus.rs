//! Reads Prometheus' text format, as Envoy's `/stats/prometheus` has it, and what can be computed from it.

use std::collections::BTreeMap;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// A label's value; nothing where there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// All lines that are samples; what is none is left out.
pub fn parse(text: &str) -> Vec<Sample> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(key.trim_start_matches(',').trim().to_owned(), value);
            rest = after;
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.into(), labels, value })
}

/// A label's value up to its closing quote, without escapes, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((i, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[i + 1..])),
            '\\' => value.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// A quantile of a cumulative histogram, as Prometheus' `histogram_quantile` has it: straight lines within a bucket.
/// `buckets` maps upper bounds to counts and has one that is infinite. Nothing if nothing was counted.
pub fn quantile(buckets: &[(f64, f64)], share: f64) -> Option<f64> {
    let mut buckets = buckets.to_vec();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = buckets.last().filter(|(bound, total)| bound.is_infinite() && *total > 0.0)?.1;
    let wanted = share * total;
    let (mut below, mut counted) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= wanted && count > counted {
            // Beyond the last bound nothing is known but that it is beyond.
            return Some(if bound.is_infinite() {
                below
            } else {
                below + (bound - below) * (wanted - counted) / (count - counted)
            });
        }
        (below, counted) = (bound, count);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_labels_of_any_kind() {
        let text =
            "# TYPE a counter\na{} 3\nb{x=\"1\",y=\"q\\\"u\\\\o,te}\"} 4.5\nc 1e3 1700000000\nd{le=\"+Inf\"} 7\nbad{\n";
        let samples = parse(text);
        let facts: Vec<(&str, &str, f64)> = samples.iter().map(|s| (s.name.as_str(), s.label("y"), s.value)).collect();
        assert_eq!(facts, [("a", "", 3.0), ("b", "q\"u\\o,te}", 4.5), ("c", "", 1000.0), ("d", "", 7.0)]);
        assert_eq!(samples[1].label("x"), "1");
        assert_eq!(samples[3].label("le"), "+Inf");
    }

    #[test]
    fn a_quantile_lies_on_a_line_within_its_bucket() {
        let inf = f64::INFINITY;
        for (buckets, share, wanted) in [
            (vec![(10.0, 0.0), (20.0, 10.0), (inf, 10.0)], 0.5, Some(15.0)),
            (vec![(10.0, 5.0), (20.0, 10.0), (inf, 10.0)], 0.5, Some(10.0)),
            (vec![(10.0, 5.0), (20.0, 10.0), (inf, 10.0)], 0.25, Some(5.0)),
            (vec![(10.0, 5.0), (20.0, 10.0), (inf, 20.0)], 0.99, Some(20.0)),
            (vec![(10.0, 0.0), (inf, 0.0)], 0.5, None),
            (vec![], 0.5, None),
        ] {
            assert_eq!(quantile(&buckets, share), wanted, "{buckets:?}");
        }
    }
}
