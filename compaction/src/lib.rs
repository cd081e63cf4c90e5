//! Compaction of Icecap
