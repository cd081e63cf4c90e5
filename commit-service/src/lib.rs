//! Commit service of Icecap: ledger, lease, committer, pointer stores
