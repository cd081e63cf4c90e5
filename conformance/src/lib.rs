//! Conformance suite of Icecap: SQL logic tests, spec invariants, foreign readers
