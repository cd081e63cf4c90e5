//! Which blocks of which objects a task reads.

use icecap_table::{Error, Result};

use super::cut::{Reads, StageInput};
use crate::exchange::{Block, ExchangeInput, ExchangeObject, ExchangePiece};

/// What task `task` reads of the objects of a stage, one per producing task, whose tasks have at most
/// `produced` partitions each.
///
/// # Errors
/// `Bug` when an object has more partitions than its stage was planned with.
pub(super) fn input(
    input: StageInput,
    task: usize,
    produced: usize,
    objects: &[ExchangeObject],
) -> Result<ExchangeInput> {
    if objects.iter().any(|object| object.partitions as usize > produced) {
        return Err(Error::bug(format!("stage {} stored more partitions than it has", input.stage)));
    }
    let narrow = |n: usize| u32::try_from(n).map_err(|_| Error::bug("a plan's number is too large"));
    let mut pieces = Vec::new();
    let mut locations = Vec::new();
    for (producer, object) in objects.iter().enumerate() {
        let mut used = None;
        for partition in 0..input.partitions {
            let wanted = match input.reads {
                Reads::Hash => Some(task * input.partitions + partition),
                Reads::All => Some(partition),
                Reads::Gather if partition / produced.max(1) == producer => Some(partition % produced.max(1)),
                Reads::Gather => None,
            };
            let Some(wanted) = wanted else { continue };
            let own = |block: &&Block| block.partition as usize == wanted;
            let blocks: Vec<Block> = object.blocks.iter().filter(own).copied().collect();
            if blocks.is_empty() {
                continue;
            }
            let object = match used {
                Some(object) => object,
                None => {
                    locations.push(object.location.clone());
                    *used.insert(narrow(locations.len() - 1)?)
                }
            };
            pieces.push(ExchangePiece { partition: narrow(partition)?, object, blocks });
        }
    }
    Ok(ExchangeInput { stage: input.stage, locations, pieces })
}
