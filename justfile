# Recipes for daily work. `just` lists them. Nothing here is needed to use Icecap: README has the two commands.

set shell := ["bash", "-euo", "pipefail", "-c"]

_list:
    @just --list

# Everything that must hold before a change lands (what CI runs)
test:
    scripts/test

# Format and lint only
check:
    cargo fmt --all --check
    . scripts/env; cargo clippy --locked --profile ci --workspace --all-targets -- -D warnings

# Unit tests of one package
unit package:
    . scripts/env; cargo test --profile ci --package {{ package }}

# The conformance suite alone; FILTER selects tests
conformance filter="":
    scripts/setup-readers
    scripts/setup-s3
    . scripts/env; cargo build --profile ci --package icecap-cli --package icecap --bins
    . scripts/env; cargo test --profile ci --package icecap-conformance -- {{ filter }}

# The suite's own figures (commits of many processes, kills, files of many partitions), kept in conformance/figures/
conformance-figures:
    scripts/setup-readers
    scripts/setup-s3
    . scripts/env; cargo build --profile ci --package icecap-cli --package icecap --bins
    . scripts/env; ICECAP_FIGURES="$PWD/conformance/figures" \
        cargo test --profile ci --package icecap-conformance -- --nocapture concurrency crash partitions writers writer_faults lambda planted two_random

# COUNT random INSERT and CTAS statements, parted through every executor and plain (60 are in every test run)
random-statements count="500" seed="1000":
    scripts/setup-s3
    . scripts/env; cargo build --profile ci --package icecap-cli --package icecap --bins
    . scripts/env; ICECAP_FIGURES="$PWD/conformance/figures" ICECAP_RANDOM_STATEMENTS={{ count }} \
        ICECAP_RANDOM_SEED={{ seed }} \
        cargo test --profile ci --package icecap-conformance --test suite -- --nocapture random::

# Pairs of concurrent commits, from any file of the form of conformance/data/commit_conflicts_v2.jsonl
conflicts file="conformance/data/commit_conflicts_v2.jsonl":
    . scripts/env; cargo run --profile ci --package icecap-conformance --bin commit-conflicts -- {{ file }}

# COUNT random sequences of statements that race, against a model of rows (24 are in every test run)
random-races count="500":
    . scripts/env; ICECAP_RANDOM_RACES={{ count }} \
        cargo test --profile ci --package icecap-commit-service --lib committer::tests::model

# COUNT random DELETE, UPDATE and MERGE statements beside DuckDB, over all layouts; what they covered is kept in conformance/figures/
random-dml count="10000" seed="1000":
    scripts/setup-readers
    . scripts/env; ICECAP_RANDOM_DML={{ count }} ICECAP_RANDOM_SEED={{ seed }} ICECAP_FIGURES="$PWD/conformance/figures" \
        cargo test --profile ci --package icecap-conformance -- --nocapture random_statements_do

# The flights example
flights:
    examples/flights/run

# The binaries that users get: thin LTO, stripped (about 40 minutes from nothing on two cores)
dist:
    . scripts/env; cargo build --locked --profile dist --package icecap-cli --package icecap --bins
    . scripts/env; ls -l "$CARGO_TARGET_DIR/dist/icecap" "$CARGO_TARGET_DIR/dist/icecap-writer"

# All workloads beside DuckDB and PyIceberg, on a quiet machine; ARGS are those of `bench run`
bench *args:
    scripts/setup-readers
    . scripts/env; cargo build --locked --release --package icecap-cli --package icecap-bench
    . scripts/env; "$CARGO_TARGET_DIR/release/bench" run --out bench/results/latest.json {{ args }} | tee bench/results/latest.txt

# Where the processor's time goes in workloads; ARGS are those of `bench profile`
bench-profile +args:
    scripts/setup-profiler
    . scripts/env; cargo build --locked --release --package icecap-cli --package icecap-bench
    . scripts/env; "$CARGO_TARGET_DIR/release/bench" profile --out bench/results/profiles {{ args }}
