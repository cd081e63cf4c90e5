//! When a task is tried again, and after how long a pause.

use std::time::Duration;

use icecap_table::{Error, ErrorKind, Retry};

/// How long and how often a task is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Attempts of one task that may fail before its write does. A service that only asked to slow down did not
    /// fail.
    pub attempts: u32,
    /// The first pause; each later one is twice as long.
    pub pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// How long a task may be kept waiting by pauses in all.
    pub patience: Duration,
    /// A task without a report after this long gets a second attempt beside the first; never when absent.
    pub speculate_after: Option<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
            patience: Duration::from_secs(300),
            speculate_after: None,
        }
    }
}

impl RetryPolicy {
    /// One attempt, whatever happens: for an executor whose failures do not pass.
    pub fn once() -> Self {
        Self { attempts: 1, patience: Duration::ZERO, ..Self::default() }
    }

    /// How a task's attempts have gone.
    pub(super) fn begin(self) -> Tries {
        Tries { policy: self, failures: 0, pauses: 0, waited: Duration::ZERO }
    }
}

/// A task's tries so far.
#[derive(Debug)]
pub(super) struct Tries {
    policy: RetryPolicy,
    failures: u32,
    pauses: u32,
    waited: Duration,
}

impl Tries {
    /// How many attempts failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The pause before the next attempt; `None` when the task has failed for good. `random` is drawn anew for
    /// each call.
    pub(super) fn after(&mut self, error: &Error, random: u32) -> Option<Duration> {
        if error.retry() != Retry::Same {
            return None;
        }
        if error.kind() != ErrorKind::Throttled {
            self.failures += 1;
        }
        if self.failures >= self.policy.attempts {
            return None;
        }
        let most = self
            .policy
            .pause
            .saturating_mul(1_u32.checked_shl(self.pauses).unwrap_or(u32::MAX))
            .min(self.policy.longest_pause);
        self.pauses += 1;
        // Anything up to it, so that tasks that were turned away together do not come back together.
        let jittered = most.mul_f64(f64::from(random) / f64::from(u32::MAX));
        let pause = error.retry_after().map_or(jittered, |asked| asked + jittered);
        self.waited += pause;
        (self.waited <= self.policy.patience).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttled() -> Error {
        Error::new(ErrorKind::Throttled, "slow down")
    }

    #[test]
    fn what_does_not_pass_is_not_tried_again() {
        let mut tries = RetryPolicy::default().begin();
        for error in [Error::invalid("x"), Error::exhausted("x"), Error::bug("x"), Error::cancelled("x")] {
            assert_eq!(tries.after(&error, 0), None);
        }
    }

    #[test]
    fn failures_are_counted_and_requests_to_slow_down_are_timed() {
        let mut tries = RetryPolicy::default().begin();
        for _ in 0..3 {
            assert!(tries.after(&Error::unavailable("x"), 0).is_some());
        }
        assert_eq!(tries.after(&Error::unavailable("x"), 0), None);

        let mut tries = RetryPolicy::default().begin();
        let mut waited = Duration::ZERO;
        let mut pauses = 0;
        while let Some(pause) = tries.after(&throttled(), u32::MAX) {
            assert!(pause <= Duration::from_secs(10));
            waited += pause;
            pauses += 1;
        }
        assert!(pauses > 20 && waited > Duration::from_secs(280), "{pauses} pauses of {waited:?}");
        assert!(waited <= Duration::from_secs(300));
        assert_eq!(RetryPolicy::once().begin().after(&Error::unavailable("x"), 0), None);
    }

    #[test]
    fn a_pause_grows_is_jittered_and_is_as_long_as_it_was_asked_for() {
        let pause = |times: usize, random| {
            let mut tries = RetryPolicy::default().begin();
            (0..times).map(|_| tries.after(&throttled(), random)).last().flatten().unwrap()
        };
        assert_eq!(pause(1, u32::MAX), Duration::from_millis(100));
        assert_eq!(pause(3, u32::MAX), Duration::from_millis(400));
        assert_eq!(pause(3, 0), Duration::ZERO);
        let asked = throttled().with_retry_after(Duration::from_secs(2));
        assert!(RetryPolicy::default().begin().after(&asked, 0).unwrap() >= Duration::from_secs(2));
    }
}
