//! The set of truth values that a predicate may take over some rows.

use std::fmt;

/// Which of SQL's three truth values a predicate may take over the rows of a file.
///
/// A set is always an over-approximation: a value that it lacks occurs in no row. So `TRUE` missing means
/// that no row matches, and `TRUE` alone means that every row does. That gives the inclusive and the
/// strict judgment from one evaluation, and `NOT` is exact, which two-valued evaluators get wrong on NULL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truth(u8);

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const UNKNOWN: u8 = 4;

impl Truth {
    /// No row at all.
    pub(crate) const NONE: Self = Self(0);
    /// Only true.
    pub(crate) const TRUE: Self = Self(TRUE);
    /// Only false.
    pub(crate) const FALSE: Self = Self(FALSE);
    /// Only unknown (NULL).
    pub(crate) const UNKNOWN: Self = Self(UNKNOWN);
    /// Nothing is known.
    pub(crate) const ANY: Self = Self(TRUE | FALSE | UNKNOWN);

    /// Whether some row may make the predicate true.
    pub(crate) fn may_be_true(self) -> bool {
        self.0 & TRUE != 0
    }

    /// Whether every row certainly makes the predicate true.
    pub(crate) fn is_always_true(self) -> bool {
        self.0 & !TRUE == 0
    }

    /// Either set's values.
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// `other`'s values too, when `condition`.
    pub(crate) fn with_if(self, condition: bool, other: Self) -> Self {
        if condition { self.union(other) } else { self }
    }

    /// `NOT self`.
    pub(crate) fn negate(self) -> Self {
        Self(self.0 & UNKNOWN).with_if(self.has(FALSE), Self::TRUE).with_if(self.has(TRUE), Self::FALSE)
    }

    /// `self AND other`, row by row, for any pairing of their values.
    pub(crate) fn and(self, other: Self) -> Self {
        let (a, b) = (self, other);
        let mixed = TRUE | UNKNOWN;
        Self::NONE
            .with_if(a.has(TRUE) && b.has(TRUE), Self::TRUE)
            .with_if((a.has(FALSE) && b.0 != 0) || (b.has(FALSE) && a.0 != 0), Self::FALSE)
            .with_if((a.has(UNKNOWN) && b.has(mixed)) || (b.has(UNKNOWN) && a.has(mixed)), Self::UNKNOWN)
    }

    /// `self OR other`, row by row, for any pairing of their values.
    pub(crate) fn or(self, other: Self) -> Self {
        self.negate().and(other.negate()).negate()
    }

    fn has(self, any_of: u8) -> bool {
        self.0 & any_of != 0
    }
}

impl fmt::Debug for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(TRUE, "T"), (FALSE, "F"), (UNKNOWN, "U")];
        f.write_str("{")?;
        names.iter().filter(|(bit, _)| self.has(*bit)).try_for_each(|(_, name)| f.write_str(name))?;
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQL's AND over single values: false wins, then unknown.
    fn sql_and(a: u8, b: u8) -> u8 {
        if a == FALSE || b == FALSE {
            FALSE
        } else if a == UNKNOWN || b == UNKNOWN {
            UNKNOWN
        } else {
            TRUE
        }
    }

    fn sql_not(a: u8) -> u8 {
        match a {
            TRUE => FALSE,
            FALSE => TRUE,
            other => other,
        }
    }

    #[test]
    fn sets_are_exactly_the_pairwise_results_of_sql() {
        let values = [TRUE, FALSE, UNKNOWN];
        for a in 0..8u8 {
            let negated = values.iter().filter(|v| a & **v != 0).fold(0, |set, v| set | sql_not(*v));
            assert_eq!(Truth(a).negate(), Truth(negated));
            for b in 0..8u8 {
                let (mut and, mut or) = (0, 0);
                for x in values.iter().filter(|v| a & **v != 0) {
                    for y in values.iter().filter(|v| b & **v != 0) {
                        and |= sql_and(*x, *y);
                        or |= sql_not(sql_and(sql_not(*x), sql_not(*y)));
                    }
                }
                assert_eq!(Truth(a).and(Truth(b)), Truth(and), "{a} and {b}");
                assert_eq!(Truth(a).or(Truth(b)), Truth(or), "{a} or {b}");
            }
        }
    }

    #[test]
    fn only_a_set_without_false_and_unknown_is_always_true() {
        assert!(Truth::TRUE.is_always_true());
        assert!(Truth::NONE.is_always_true() && !Truth::NONE.may_be_true());
        assert!(!Truth::TRUE.union(Truth::UNKNOWN).is_always_true());
        assert!(!Truth::FALSE.may_be_true() && !Truth::UNKNOWN.may_be_true());
        assert_eq!(format!("{:?}", Truth::ANY), "{TFU}");
    }
}
