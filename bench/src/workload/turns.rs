//! Engines take turns, so that a slow minute of the machine hits all of them.

use super::{Run, Series};
use crate::Result;

/// Runs each engine `repeats` times; `run` gets the engine's place in `engines`. Whoever goes first pays for the
/// write-back of whoever went last: each goes first in turn.
pub(super) fn in_turns(
    workload: &'static str,
    repeats: usize,
    engines: &[&'static str],
    mut run: impl FnMut(usize) -> Result<Run>,
) -> Result<Vec<Series>> {
    let mut series: Vec<Series> =
        engines.iter().map(|engine| Series { workload, engine, runs: Vec::new() }).collect();
    for repeat in 0..repeats {
        for turn in 0..engines.len() {
            let at = (turn + repeat) % engines.len();
            series[at].runs.push(run(at)?);
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_goes_first_once() {
        let mut order = Vec::new();
        let series = in_turns("w", 3, &["a", "b", "c"], |at| {
            order.push(at);
            Ok(Run { data_files: Some(order.len() as u64), ..Run::default() })
        })
        .unwrap();
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        let of_b: Vec<_> = series[1].runs.iter().filter_map(|run| run.data_files).collect();
        assert_eq!((series[1].engine, of_b), ("b", vec![2, 4, 9]));
    }
}
