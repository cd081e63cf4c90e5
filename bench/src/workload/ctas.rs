//! `lineitem` from one Parquet file into a new table, ZSTD level 3, beside peers that read the same file.

use std::fs;
use std::path::Path;

use super::{Peer, Plan, Run, Series, parquet_files, text_of, told_seconds};
use crate::Result;
use crate::data::{self, Table};
use crate::measure::Finished;

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = data::ensure(&plan.cache, plan.scale, Table::Lineitem)?;
    // Every engine finds the source in memory.
    std::io::copy(&mut fs::File::open(&source)?, &mut std::io::sink())?;

    let mut icecap = Vec::new();
    let mut peers: Vec<(Peer, Vec<Run>)> = plan.peers.iter().map(|peer| (*peer, Vec::new())).collect();
    for repeat in 0..plan.repeats {
        // Whoever goes first pays for the write-back of whoever went last: take turns.
        let mut turns: Vec<Option<usize>> = std::iter::once(None).chain((0..peers.len()).map(Some)).collect();
        let count = turns.len();
        turns.rotate_left(repeat % count);
        for turn in turns {
            match turn {
                None => icecap.push(icecap_run(plan, &source)?),
                Some(at) => {
                    let run = peer_run(plan, peers[at].0, &source)?;
                    peers[at].1.push(run);
                }
            }
        }
    }
    let mut series = vec![Series { workload: "ctas", engine: "icecap", runs: icecap }];
    series.extend(peers.into_iter().map(|(peer, runs)| Series {
        workload: "ctas",
        engine: peer.name(),
        runs,
    }));
    Ok(series)
}

fn icecap_run(plan: &Plan, source: &Path) -> Result<Run> {
    let warehouse = plan.fresh("ctas");
    let source = text_of(source)?.replace('\'', "''");
    let sql = format!("CREATE TABLE lineitem AS SELECT * FROM read_parquet('{source}')");
    let finished = plan.icecap(&warehouse, &["--memory", &plan.memory, "-e", &sql])?;
    finish(finished, &warehouse)
}

fn peer_run(plan: &Plan, peer: Peer, source: &Path) -> Result<Run> {
    let folder = plan.fresh("ctas");
    fs::create_dir_all(&folder)?;
    let finished = plan.peer(peer, &[source, &folder])?;
    finish(finished, &folder)
}

fn finish(finished: Finished, folder: &Path) -> Result<Run> {
    let (data_bytes, data_files) = parquet_files(folder)?;
    Ok(Run {
        usage: Some(finished.usage),
        data_bytes: Some(data_bytes),
        data_files: Some(data_files),
        statement_seconds: told_seconds(&finished.stdout)?,
    })
}
