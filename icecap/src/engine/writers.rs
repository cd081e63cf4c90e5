//! The executor that the settings ask for.

use std::sync::Arc;

use datafusion::execution::SessionState;
use icecap_table::storage::Storage;

use super::settings::{EngineSettings, Writers};
use crate::Result;
use crate::dispatch::{Executor, InProcess, LambdaExec, LambdaSettings, LocalPool, LocalPoolSettings, Meter};
use crate::worker::WorkerSettings;

/// The folder of the warehouse for messages to functions that are too large to be sent. What is left in it (by a
/// process that was killed) may be deleted after a day.
const MESSAGES: &str = "_icecap/messages";

/// The executor, and a state to plan with. `here` is how this process runs queries, and tasks when no other does; they are
/// held to the same policy everywhere.
pub(super) fn executor(
    settings: &EngineSettings,
    warehouse: &str,
    storage: &Storage,
    here: WorkerSettings,
    meter: Meter,
) -> Result<(Arc<dyn Executor>, SessionState)> {
    match &settings.writers {
        Writers::InProcess => {
            let executor = InProcess::new(storage.clone(), here, meter)?;
            let planner = executor.planner_state();
            Ok((Arc::new(executor), planner))
        }
        Writers::Children { slots, program } => {
            let pool = LocalPoolSettings {
                slots: *slots,
                program: program.clone(),
                memory_bytes: settings.task_memory_bytes(),
                temp_dir: settings.temp_dir.clone(),
                policy: here.policy.clone(),
            };
            let executor = LocalPool::new(storage.clone(), here, pool, meter)?;
            let planner = executor.planner_state();
            Ok((Arc::new(executor), planner))
        }
        Writers::Lambda { function } => {
            let lambda = LambdaSettings {
                function: function.clone(),
                messages: format!("{warehouse}/{MESSAGES}"),
                limit: settings.timeout,
                policy: here.policy.clone(),
            };
            let executor = LambdaExec::new(storage.clone(), here, lambda, meter)?;
            let planner = executor.planner_state();
            Ok((Arc::new(executor), planner))
        }
    }
}
