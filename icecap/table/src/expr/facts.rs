//! What is known of one column's values in some rows, and what that makes of a comparison.

use std::cmp::Ordering;

use iceberg::spec::PrimitiveType;

use super::truth::Truth;
use super::value::Value;

/// What one column may hold in a set of rows. Everything unsaid is possible.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// A NULL may occur.
    pub(crate) null: bool,
    /// A NaN may occur.
    pub(crate) nan: bool,
    /// A value that is neither may occur; the rest concerns these values.
    pub(crate) value: bool,
    lower: Option<Value>,
    upper: Option<Value>,
    /// All values begin with these bytes.
    prefix: Option<Vec<u8>>,
    /// All values fall in a bucket from `.1` to `.2` of `.0` many.
    buckets: Vec<(u32, i32, i32)>,
}

impl Facts {
    /// Nothing is known but the type.
    pub(crate) fn unknown(ty: Option<&PrimitiveType>) -> Self {
        Self {
            null: true,
            nan: matches!(ty, Some(PrimitiveType::Float | PrimitiveType::Double)),
            value: true,
            lower: None,
            upper: None,
            prefix: None,
            buckets: Vec::new(),
        }
    }

    /// Every row holds NULL.
    pub(crate) fn all_null() -> Self {
        Self { nan: false, value: false, ..Self::unknown(None) }
    }

    /// Every row holds NaN.
    pub(crate) fn all_nan() -> Self {
        Self { null: false, nan: true, value: false, ..Self::unknown(None) }
    }

    /// Every row holds a value.
    pub(crate) fn all_values() -> Self {
        Self { null: false, nan: false, ..Self::unknown(None) }
    }

    /// With all values from `lower` to `upper`, both included.
    ///
    /// A NaN among them, or bounds in the wrong order, come from a writer that is not to be trusted with
    /// this column: then both are dropped. Zeros are widened to hold both signs, because engines differ on
    /// whether `-0.0` equals `0.0`.
    pub(crate) fn with_bounds(mut self, lower: Option<Value>, upper: Option<Value>) -> Self {
        let is_nan = |bound: &Option<Value>| bound.as_ref().is_some_and(Value::is_nan);
        let crossed = matches!((&lower, &upper), (Some(l), Some(u)) if l.order(u) == Ordering::Greater);
        if is_nan(&lower) || is_nan(&upper) || crossed {
            return self;
        }
        let zero = |signed: f64| {
            move |bound: Value| match bound {
                Value::Float(0.0) => Value::Float(signed), // matches both zeros
                other => other,
            }
        };
        self.lower = lower.map(zero(-0.0));
        self.upper = upper.map(zero(0.0));
        self
    }

    /// With all values beginning with `prefix`.
    pub(crate) fn with_prefix(mut self, prefix: Vec<u8>) -> Self {
        let successor = prefix.iter().rposition(|byte| *byte < u8::MAX).map(|last| {
            let mut bytes = prefix[..=last].to_vec();
            bytes[last] += 1;
            Value::Bytes(bytes)
        });
        self.lower = Some(Value::Bytes(prefix.clone()));
        self.upper = successor;
        self.prefix = Some(prefix);
        self
    }

    /// The same without what bounds the values from below.
    pub(crate) fn without_lower(mut self) -> Self {
        self.lower = None;
        self.prefix = None;
        self
    }

    /// With all values in a bucket from `low` to `high` of `count`.
    pub(crate) fn with_buckets(mut self, count: u32, low: i32, high: i32) -> Self {
        self.buckets.push((count, low, high));
        self
    }

    /// What holds when both hold.
    pub(crate) fn and(mut self, other: Self) -> Self {
        let later = |a: Option<Value>, b: Option<Value>, wins: Ordering| match (a, b) {
            (Some(a), Some(b)) => Some(if b.order(&a) == wins { b } else { a }),
            (a, b) => a.or(b),
        };
        let mut both = Self {
            null: self.null && other.null,
            nan: self.nan && other.nan,
            value: self.value && other.value,
            lower: None,
            upper: None,
            prefix: match (self.prefix.take(), other.prefix) {
                (Some(a), Some(b)) => Some(if b.len() > a.len() { b } else { a }),
                (a, b) => a.or(b),
            },
            buckets: std::mem::take(&mut self.buckets),
        };
        both.buckets.extend(other.buckets);
        // Two ranges that do not meet contradict each other; `with_bounds` then drops them, so that a file
        // with one false statement in its manifest is read rather than skipped.
        both.with_bounds(
            later(self.lower, other.lower, Ordering::Greater),
            later(self.upper, other.upper, Ordering::Less),
        )
    }

    /// Whether the facts leave no possibility, which for a file with rows means that they are wrong.
    pub(crate) fn is_impossible(&self) -> bool {
        !(self.null || self.nan || self.value)
    }
}

/// How a value is compared with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Below,
    AtMost,
    Above,
    AtLeast,
}

/// A test of one column. `<>`, `NOT IN` and the like are these under a `NOT`.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    IsNull,
    IsNan,
    Compare(Order, Value),
    In(Set),
    StartsWith(Vec<u8>),
}

/// The literals of an `=` or `IN`, sorted, with their buckets under the bucket counts in use.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    values: Vec<Value>,
    buckets: Vec<(u32, Vec<Option<i32>>)>,
}

impl Set {
    pub(crate) fn new(mut values: Vec<Value>) -> Self {
        values.sort_by(Value::order);
        values.dedup();
        Self { values, buckets: Vec::new() }
    }

    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// Records the literals' buckets of `count`, one for each of [`values`](Self::values).
    pub(crate) fn set_buckets(&mut self, count: u32, buckets: Vec<Option<i32>>) {
        self.buckets.push((count, buckets));
    }

    fn in_buckets(&self, at: usize, allowed: &[(u32, i32, i32)]) -> bool {
        allowed.iter().all(|(count, low, high)| {
            let known = self.buckets.iter().find(|(of, _)| of == count).and_then(|(_, all)| all[at]);
            known.is_none_or(|bucket| (*low..=*high).contains(&bucket))
        })
    }
}

impl Test {
    /// The truth values that the test takes over rows of which `facts` hold.
    pub(crate) fn over(&self, facts: &Facts) -> Truth {
        match self {
            Self::IsNull => {
                Truth::NONE.with_if(facts.null, Truth::TRUE).with_if(facts.nan || facts.value, Truth::FALSE)
            }
            // Whether a NULL "is NaN" is false to Iceberg and unknown to SQL.
            Self::IsNan => Truth::NONE
                .with_if(facts.null, Truth::FALSE.union(Truth::UNKNOWN))
                .with_if(facts.nan, Truth::TRUE)
                .with_if(facts.value, Truth::FALSE),
            // How a NaN compares differs between engines.
            Self::Compare(..) | Self::In(_) | Self::StartsWith(_) => Truth::NONE
                .with_if(facts.null, Truth::UNKNOWN)
                .with_if(facts.nan, Truth::ANY)
                .with_if(facts.value, self.over_values(facts)),
        }
    }

    fn over_values(&self, facts: &Facts) -> Truth {
        let lower = |to: &Value| facts.lower.as_ref().map(|bound| bound.order(to));
        let upper = |to: &Value| facts.upper.as_ref().map(|bound| bound.order(to));
        let both = |may_hold: bool, may_fail: bool| {
            Truth::NONE.with_if(may_hold, Truth::TRUE).with_if(may_fail, Truth::FALSE)
        };
        match self {
            Self::IsNull | Self::IsNan => Truth::FALSE,
            Self::Compare(Order::Below, v) => {
                both(lower(v).is_none_or(Ordering::is_lt), upper(v).is_none_or(Ordering::is_ge))
            }
            Self::Compare(Order::AtMost, v) => {
                both(lower(v).is_none_or(Ordering::is_le), upper(v).is_none_or(Ordering::is_gt))
            }
            Self::Compare(Order::Above, v) => {
                both(upper(v).is_none_or(Ordering::is_gt), lower(v).is_none_or(Ordering::is_le))
            }
            Self::Compare(Order::AtLeast, v) => {
                both(upper(v).is_none_or(Ordering::is_ge), lower(v).is_none_or(Ordering::is_lt))
            }
            Self::In(set) => {
                let from = set.values.partition_point(|v| lower(v).is_some_and(Ordering::is_gt));
                let to = set.values.partition_point(|v| upper(v).is_none_or(Ordering::is_ge));
                let candidate = |at: usize| {
                    let fits = match (&facts.prefix, &set.values[at]) {
                        (Some(prefix), Value::Bytes(bytes)) => bytes.starts_with(prefix),
                        _ => true,
                    };
                    fits && set.in_buckets(at, &facts.buckets)
                };
                let one_value = match (&facts.lower, &facts.upper) {
                    (Some(low), Some(high)) if low.order(high) == Ordering::Equal => Some(low),
                    _ => None,
                };
                let certain = one_value.is_some_and(|v| set.values.binary_search_by(|x| x.order(v)).is_ok());
                both((from..to).any(candidate), !certain)
            }
            Self::StartsWith(prefix) => Self::starts_with(prefix, facts),
        }
    }

    fn starts_with(prefix: &[u8], facts: &Facts) -> Truth {
        let head = |bytes: &[u8]| bytes[..bytes.len().min(prefix.len())].cmp(prefix);
        let bytes = |bound: &Option<Value>| match bound {
            Some(Value::Bytes(bytes)) => Some(head(bytes)),
            _ => None,
        };
        let (low, high) = (bytes(&facts.lower), bytes(&facts.upper));
        let mut may_hold = low.is_none_or(Ordering::is_le) && high.is_none_or(Ordering::is_ge);
        let mut may_fail = !(low.is_some_and(Ordering::is_eq) && high.is_some_and(Ordering::is_eq));
        if let Some(common) = &facts.prefix {
            may_hold &= common.starts_with(prefix) || prefix.starts_with(common);
            may_fail &= !common.starts_with(prefix);
        }
        Truth::NONE.with_if(may_hold, Truth::TRUE).with_if(may_fail, Truth::FALSE)
    }
}
