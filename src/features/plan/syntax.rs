//! How a plan is written: `search>fetch[2]>(summarize,rank)>report?>answer`. The grammar stands in docs/plan.md.
//!
//! What is read becomes an automaton: steps between states that are numbered in the order in which a run passes them.
//! Repetitions are written out, a group in any order becomes the lattice of its subsets. All of it has bounds, so that
//! where a run stands fits an entry of fixed size.

/// Longest plan, in bytes: it is kept as it is written.
pub const MAX_TEXT: usize = 1024;
/// Most steps of a plan, with repetitions written out.
pub const MAX_STEPS: usize = 32;
/// Most states: four groups of five and what is around them.
pub const MAX_STATES: usize = 128;
/// Longest name or target, in bytes: what providers allow for a tool.
pub const MAX_NAME: usize = 64;
/// Most steps of a group in any order: each doubles its states.
pub const MAX_GROUP: usize = 5;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// What runs: a tool, a route, or a kind of call.
    pub name: &'a str,
    /// On what, if that matters.
    pub target: Option<&'a str>,
}

/// A step that may be made in a state, and leads to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The state before it.
    pub from: u8,
    /// The state after it; the same where it may be made any number of times.
    pub to: u8,
    /// Which step.
    pub step: u8,
}

/// A way to another state without making a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The state before.
    pub from: u8,
    /// The state behind, of a greater number.
    pub to: u8,
    /// One if that leaves out what has to be done.
    pub cost: u8,
}

/// A plan as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// Its steps, in the order in which they are written.
    pub steps: Vec<Step<'a>>,
    /// By the state before.
    pub moves: Vec<Move>,
    /// By the state before.
    pub skips: Vec<Skip>,
    /// The number of its last state, in which all is done.
    pub last: u8,
}

/// Why a text is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlan {
    /// It is not written as a plan is.
    Syntax,
    /// It is longer, or has more steps, than is kept.
    TooLarge,
}

/// How often a step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    least: usize,
    /// Nothing: any number of times.
    most: Option<usize>,
}

impl<'a> Plan<'a> {
    /// Reads a plan.
    ///
    /// # Errors
    /// It is none, or too large.
    pub fn read(text: &'a str) -> Result<Self, NoPlan> {
        if text.len() > MAX_TEXT {
            return Err(NoPlan::TooLarge);
        }
        let mut plan = Self::default();
        for part in text.split('>') {
            let part = part.trim_ascii();
            match part.strip_prefix('(') {
                Some(rest) => plan.group(rest.strip_suffix(')').ok_or(NoPlan::Syntax)?)?,
                None => {
                    let (step, times) = counted(part)?;
                    plan.repeated(step, times)?;
                }
            }
        }
        Ok(plan)
    }

    fn step(&mut self, step: Step<'a>) -> Result<u8, NoPlan> {
        if self.steps.len() >= MAX_STEPS {
            return Err(NoPlan::TooLarge);
        }
        self.steps.push(step);
        Ok((self.steps.len() - 1) as u8)
    }

    /// So many more states; gives the number of the first.
    fn states(&mut self, more: usize) -> Result<u8, NoPlan> {
        let last = usize::from(self.last).saturating_add(more);
        if last >= MAX_STATES {
            return Err(NoPlan::TooLarge);
        }
        self.last = last as u8;
        Ok((last - more) as u8)
    }

    fn repeated(&mut self, step: Step<'a>, times: Times) -> Result<(), NoPlan> {
        for n in 0..times.most.unwrap_or(times.least) {
            let at = self.step(step)?;
            let from = self.states(1)?;
            self.moves.push(Move { from, to: self.last, step: at });
            self.skips.push(Skip { from, to: self.last, cost: u8::from(n < times.least) });
        }
        if times.most.is_none() {
            // A state of its own: in that of the step before, that one could be made again behind this one.
            let at = self.step(step)?;
            let from = self.states(1)?;
            self.skips.push(Skip { from, to: self.last, cost: 0 });
            self.moves.push(Move { from: self.last, to: self.last, step: at });
        }
        Ok(())
    }

    /// Steps in any order: the states between are the sets of those that were made.
    fn group(&mut self, text: &'a str) -> Result<(), NoPlan> {
        let mut members = Vec::new();
        for member in text.split(',') {
            let (step, times) = counted(member.trim_ascii())?;
            if times.most != Some(1) {
                return Err(NoPlan::Syntax);
            }
            if members.len() >= MAX_GROUP {
                return Err(NoPlan::TooLarge);
            }
            members.push((self.step(step)?, times.least as u8));
        }
        let sets = 1usize << members.len();
        let first = self.states(sets - 1)?;
        for made in 0..sets {
            for (at, (step, cost)) in members.iter().enumerate().filter(|(at, _)| made >> at & 1 == 0) {
                let (from, to) = (first.saturating_add(made as u8), first.saturating_add((made | 1 << at) as u8));
                self.moves.push(Move { from, to, step: *step });
                self.skips.push(Skip { from, to, cost: *cost });
            }
        }
        Ok(())
    }
}

/// A step with what stands behind it: `fetch:billing.history[1-3]`.
fn counted(text: &str) -> Result<(Step<'_>, Times), NoPlan> {
    let (named, times) = match text.as_bytes().last() {
        Some(b'?') => (text.strip_suffix('?'), Times { least: 0, most: Some(1) }),
        Some(b'*') => (text.strip_suffix('*'), Times { least: 0, most: None }),
        Some(b'+') => (text.strip_suffix('+'), Times { least: 1, most: None }),
        Some(b']') => {
            let (named, range) = text.strip_suffix(']').and_then(|text| text.split_once('[')).ok_or(NoPlan::Syntax)?;
            (Some(named), range_of(range)?)
        }
        _ => (Some(text), Times { least: 1, most: Some(1) }),
    };
    let named = named.unwrap_or_default().trim_ascii();
    let (name, target) = named.split_once(':').map_or((named, None), |(name, target)| (name, Some(target)));
    for text in [Some(name), target].into_iter().flatten() {
        if text.len() > MAX_NAME {
            return Err(NoPlan::TooLarge);
        }
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_-./".contains(&b);
        if text.is_empty() || !text.bytes().all(fine) {
            return Err(NoPlan::Syntax);
        }
    }
    Ok((Step { name, target }, times))
}

/// `2`, `1-3`, `2-*`, `*`.
fn range_of(text: &str) -> Result<Times, NoPlan> {
    let number = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty();
        digits.then(|| text.parse::<usize>().unwrap_or(usize::MAX)).ok_or(NoPlan::Syntax)
    };
    let times = match text.split_once('-') {
        None if text == "*" => Times { least: 0, most: None },
        None => Times { least: number(text)?, most: Some(number(text)?) },
        Some((least, "*")) => Times { least: number(least)?, most: None },
        Some((least, most)) => Times { least: number(least)?, most: Some(number(most)?) },
    };
    match times.most {
        Some(most) if most == 0 || most < times.least => Err(NoPlan::Syntax),
        _ if times.least.max(times.most.unwrap_or(0)) > MAX_STEPS => Err(NoPlan::TooLarge),
        _ => Ok(times),
    }
}
