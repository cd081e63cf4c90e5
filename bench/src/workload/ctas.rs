//! `lineitem` from one Parquet file into a new table, ZSTD level 3, beside peers that read the same file.

use std::fs;

use super::lineitem::{Source, written};
use super::turns::in_turns;
use super::{Peer, Plan, Run, Series};
use crate::Result;

pub(super) fn run(plan: &Plan) -> Result<Vec<Series>> {
    let source = Source::ready(plan)?;
    // Spark has a part in the row-level workloads and OPTIMIZE only.
    let peers: Vec<Peer> = plan.peers.iter().copied().filter(|peer| *peer != Peer::Spark).collect();
    let mut engines = vec!["icecap"];
    engines.extend(peers.iter().map(|peer| peer.name()));
    in_turns("ctas", plan.repeats, &engines, |at| match at.checked_sub(1) {
        None => icecap_run(plan, &source),
        Some(peer) => peer_run(plan, peers[peer], &source),
    })
}

/// Icecap's CTAS of the whole table.
pub(super) fn icecap_run(plan: &Plan, source: &Source) -> Result<Run> {
    let warehouse = plan.fresh("ctas");
    let sql = format!("CREATE TABLE lineitem AS SELECT * FROM {}", source.sql()?);
    let finished = plan.icecap(&warehouse, &["--memory", &plan.memory, "-e", &sql])?;
    written(&finished, &warehouse, source, "icecap")
}

fn peer_run(plan: &Plan, peer: Peer, source: &Source) -> Result<Run> {
    let folder = plan.fresh("ctas");
    fs::create_dir_all(&folder)?;
    let script = format!("{}_ctas.py", peer.name());
    let finished = plan.peer(&script, &[source.path.as_os_str(), folder.as_os_str()])?;
    written(&finished, &folder, source, peer.name())
}
