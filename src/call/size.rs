//! How large a call will probably be, and what that costs.

/// Tokens that a call will probably take, and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// At this price, where a limit goes by prices.
    pub money: Money,
}

/// What a call probably costs: billionths of a dollar for a million tokens, and for the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// For the call.
    pub call: u64,
}

impl Money {
    /// In billionths of a dollar, that is thousandths of the unit in which limits count money.
    pub fn of(self, input: u64, output: u64) -> u64 {
        let at = |tokens: u64, rate: u64| u128::from(tokens).saturating_mul(rate.into());
        let tokens = at(input, self.input).saturating_add(at(output, self.output)) / 1_000_000;
        u64::try_from(tokens.saturating_add(self.call.into())).unwrap_or(u64::MAX)
    }
}
