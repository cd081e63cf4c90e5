//! The icecap command
