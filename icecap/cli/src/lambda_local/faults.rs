//! What goes wrong on purpose: at the n-th invocation, or by chance from a seed, so that a run can be repeated.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use icecap_table::clock::{IdSource, SeededIds};

/// The longest time after which a process is killed by chance.
const KILL_WITHIN: Duration = Duration::from_millis(200);

/// The rules, and how many invocations there were. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    rules: Arc<[Rule]>,
    seed: u64,
    invocations: Arc<AtomicU64>,
}

/// One `--fault`: what happens, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    kind: Kind,
    when: When,
    /// For a kill: how long after the delivery; by chance when absent.
    after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    DropReply,
    Duplicate,
    Throttle,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    /// The n-th invocations, from 1.
    At(Vec<u64>),
    /// So many of a hundred.
    Percent(u64),
}

/// What happens to one invocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Its process is killed so long after the delivery.
    pub(crate) kill_after: Option<Duration>,
    /// It runs to its end, and the caller gets no answer.
    pub(crate) drop_reply: bool,
    /// It is delivered to a second process too.
    pub(crate) duplicate: bool,
    /// It is refused as one too many.
    pub(crate) throttle: bool,
}

impl Faults {
    /// These rules, chance drawn from `seed`.
    pub(crate) fn new(rules: Vec<Rule>, seed: u64) -> Self {
        Self { rules: rules.into(), seed, invocations: Arc::default() }
    }

    /// The next invocation's fate.
    pub(crate) fn next(&self) -> Fate {
        self.fate(self.invocations.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn fate(&self, number: u64) -> Fate {
        let mut fate = Fate::default();
        let draws = SeededIds::new(self.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        for rule in self.rules.iter() {
            // Each rule draws, so that one more does not change what the others do.
            let (chance, after) = (draw(&draws, 100), draw(&draws, KILL_WITHIN.as_millis()));
            let hit = match &rule.when {
                When::At(numbers) => numbers.contains(&number),
                When::Percent(percent) => chance < *percent,
            };
            if !hit {
                continue;
            }
            match rule.kind {
                Kind::Kill => fate.kill_after = Some(rule.after.unwrap_or(Duration::from_millis(after))),
                Kind::DropReply => fate.drop_reply = true,
                Kind::Duplicate => fate.duplicate = true,
                Kind::Throttle => fate.throttle = true,
            }
        }
        fate
    }
}

/// A number below `bound`.
fn draw(draws: &SeededIds, bound: u128) -> u64 {
    // The first bits of a version-4 UUID are all random.
    u64::try_from((draws.uuid().as_u128() >> 96) % bound.max(1)).unwrap_or(0)
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || "KIND@N[,N…] or KIND%PERCENT, KIND one of kill, drop-reply, duplicate, throttle".to_owned();
        let (text, after) = match text.split_once('+') {
            Some((text, ms)) => (text, Some(Duration::from_millis(ms.parse().map_err(|_| wrong())?))),
            None => (text, None),
        };
        let at = text.find(['@', '%']).ok_or_else(wrong)?;
        let (kind, when) = (&text[..at], &text[at + 1..]);
        let kind = match kind {
            "kill" => Kind::Kill,
            "drop-reply" => Kind::DropReply,
            "duplicate" => Kind::Duplicate,
            "throttle" => Kind::Throttle,
            _ => return Err(wrong()),
        };
        if after.is_some() && kind != Kind::Kill {
            return Err("only a kill takes a time, in milliseconds: kill@3+50".to_owned());
        }
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
        let when = if text[at..].starts_with('@') {
            When::At(when.split(',').map(number).collect::<Result<_, _>>()?)
        } else {
            When::Percent(number(when)?)
        };
        Ok(Self { kind, when, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rules: &[&str], seed: u64) -> Faults {
        Faults::new(rules.iter().map(|rule| rule.parse().unwrap()).collect(), seed)
    }

    #[test]
    fn a_rule_hits_the_invocations_that_it_names() {
        let faults = faults(&["kill@2,4+50", "drop-reply@3", "duplicate@3", "throttle@1"], 1);
        let fates: Vec<Fate> = (0..4).map(|_| faults.next()).collect();
        assert_eq!(fates[0], Fate { throttle: true, ..Fate::default() });
        assert_eq!(fates[1].kill_after, Some(Duration::from_millis(50)));
        assert_eq!(fates[2], Fate { drop_reply: true, duplicate: true, ..Fate::default() });
        assert_eq!(fates[3], fates[1]);
    }

    #[test]
    fn chance_repeats_with_its_seed_and_hits_about_as_often_as_asked() {
        let fates = |seed| {
            let faults = faults(&["kill%20"], seed);
            (0..1000).map(|_| faults.next()).collect::<Vec<_>>()
        };
        assert_eq!(fates(7), fates(7));
        assert_ne!(fates(7), fates(8));
        let hits = fates(7).iter().filter(|fate| fate.kill_after.is_some()).count();
        assert!((150..250).contains(&hits), "{hits} of 1000");
        assert!(fates(7).iter().filter_map(|fate| fate.kill_after).all(|after| after < KILL_WITHIN));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for wrong in ["", "kill", "kill@", "kill@x", "break@1", "kill%", "duplicate@1+5", "kill@1+x"] {
            assert!(wrong.parse::<Rule>().is_err(), "{wrong}");
        }
    }
}
