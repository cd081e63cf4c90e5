//! Lambda's own line about an invocation, at the end of its log: what it is billed for.

/// What the line says; what it does not is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bill {
    pub(super) billed_ms: Option<u64>,
    pub(super) memory_mb: Option<u64>,
    pub(super) peak_mb: Option<u64>,
    /// Whether a process was started for it.
    pub(super) is_cold: bool,
}

impl Bill {
    /// The bill in a log's end.
    pub(super) fn of(log: &str) -> Self {
        let Some(line) = log.lines().rev().find(|line| line.starts_with("REPORT ")) else {
            return Self::default();
        };
        let number = |name: &str| {
            let (_, rest) = line
                .split('\t')
                .find_map(|part| part.split_once(name).filter(|(before, _)| before.is_empty()))?;
            rest.split_whitespace().next()?.parse().ok()
        };
        Self {
            billed_ms: number("Billed Duration: "),
            memory_mb: number("Memory Size: "),
            peak_mb: number("Max Memory Used: "),
            is_cold: line.contains("\tInit Duration: "),
        }
    }

    /// Whether there was a line at all.
    pub(super) fn told(&self) -> bool {
        self.billed_ms.is_some()
    }

    /// Whether the function had all the memory that it may have.
    pub(super) fn is_full(&self) -> bool {
        matches!((self.peak_mb, self.memory_mb), (Some(peak), Some(size)) if peak >= size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_aws_is_read() {
        let log = "START RequestId: 7 Version: $LATEST\nhello\nEND RequestId: 7\n\
                   REPORT RequestId: 7\tDuration: 102.25 ms\tBilled Duration: 325 ms\tMemory Size: 2048 MB\t\
                   Max Memory Used: 64 MB\tInit Duration: 222.01 ms\t\nXRAY TraceId: 1\n";
        let bill = Bill::of(log);
        assert_eq!(
            bill,
            Bill { billed_ms: Some(325), memory_mb: Some(2048), peak_mb: Some(64), is_cold: true }
        );
        assert!(bill.told() && !bill.is_full());
        assert!(!Bill::of(&log.replace("\tInit Duration: 222.01 ms", "")).is_cold);
        assert!(Bill::of(&log.replace(" 64 MB", " 2048 MB")).is_full());
    }

    #[test]
    fn a_log_without_the_line_tells_nothing() {
        for log in ["", "hello", "REPORT", "REPORT RequestId: 7\tBilled Duration: x ms"] {
            assert_eq!(Bill::of(log), Bill::default(), "{log}");
        }
    }
}
