//! Workloads and measurements of Icecap against its peers
