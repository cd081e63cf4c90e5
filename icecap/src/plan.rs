//! Plans as they travel: what every planner and executor agree on, and the bytes between them.
//!
//! Configuration does not travel in a plan, so both ends take theirs from [`session_config`]. Errors cross
//! DataFusion through [`to_datafusion`] and [`from_datafusion`].

pub mod codec;
pub mod error;
pub mod held;
pub mod report;
pub mod session;
pub mod task;

pub use codec::IcecapCodec;
pub use error::{from_datafusion, to_datafusion};
pub use held::{HeldRows, Shelf};
pub use report::TaskReport;
pub use session::{ScanTasks, session_config};
pub use task::{TaskOutput, WriteTask};

pub use crate::source::SourcePolicy;
