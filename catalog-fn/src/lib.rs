//! Catalog of Icecap: namespaces, tables, their locations
