//! The result of parsing a field: a value, or the rule that the field breaks.

use crate::domain::record::Reason;
use crate::domain::value::{Cell, Slice};

/// Why a field is not a value of its column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// What breaks the rule.
    pub part: Part,
    /// The broken rule, worded to follow "must be".
    pub rule: &'static str,
}

/// The field, or the part of a collection that breaks a rule. Parts are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Field,
    Element(u32),
    Key(u32),
    ValueOfKey(u32),
}

impl Refusal {
    /// Says which part of a collection is refused. `before` is the number of parts before it.
    pub fn of(self, part: impl Fn(u32) -> Part, before: usize) -> Self {
        Self { part: part(u32::try_from(before + 1).unwrap_or(u32::MAX)), ..self }
    }

    /// Says what is wrong with the field. `shown` is the field as the message shows it.
    pub fn describe(&self, shown: &str) -> String {
        let rule = self.rule;
        match self.part {
            Part::Field => format!("{shown} must be {rule}"),
            Part::Element(n) => format!("{shown}: element {n} must be {rule}"),
            Part::Key(n) => format!("{shown}: key {n} must be {rule}"),
            Part::ValueOfKey(n) => format!("{shown}: the value of key {n} must be {rule}"),
        }
    }
}

pub type Parsed = Result<Cell, Refusal>;

pub const fn not(rule: &'static str) -> Refusal {
    Refusal { reason: Reason::Value, part: Part::Field, rule }
}

pub const fn outside(rule: &'static str) -> Refusal {
    Refusal { reason: Reason::Range, part: Part::Field, rule }
}

/// The refusal of a value that does not fit into the arena of its chunk.
pub const FULL: Refusal = outside("smaller: a chunk holds at most 4 GiB of values");

pub fn keep(arena: &mut Vec<u8>, bytes: &[u8]) -> Result<Slice, Refusal> {
    Slice::store(arena, bytes).ok_or(FULL)
}
