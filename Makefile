LISTEN ?= 127.0.0.1:8080
# The data directory; empty for the default one.
DATA ?=

.PHONY: run test setup tools fmt check schema drill bench data sbom audit faults fuzz

# Serves the demo company on a private database, and prints tokens to try it with.
run: tools
	cargo run --release --locked -- serve --demo --print-tokens --listen $(LISTEN) $(if $(DATA),--data "$(DATA)")

# Everything that must pass.
test: setup
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo test --locked
	@if command -v cargo-deny >/dev/null 2>&1; then \
		cargo deny check licenses bans sources; \
	else \
		echo "cargo-deny is not installed: licences not checked"; \
	fi

# Installs what is missing on this machine to build, run and test.
setup:
	@sh scripts/setup.sh tests

# The same without what only the tests need.
tools:
	@sh scripts/setup.sh

fmt:
	cargo fmt

# A quick look while editing.
check:
	cargo clippy --all-targets --locked -- -D warnings

# Publishes the API: a test compares this file with the code.
schema:
	cargo run --locked -- schema > schema.graphql.new
	mv schema.graphql.new schema.graphql

# Fills the database at DATABASE_URL with companies of a size (s, m or l), and says how fast they went in.
data:
	cargo bench --locked --bench data -- --size $(or $(SIZE),s)

# Backs up a demo company, restores it beside itself, checks and compares; then loses it and goes back to a moment.
drill: tools
	cargo build --release --locked
	ENCOURS=target/release/encours sh scripts/drill.sh
	ENCOURS=target/release/encours sh scripts/drill-pitr.sh

# The long form of the tests of faults and crowds: 50 kills, 64 writers, with their figures.
faults: tools
	ENCOURS_FAULTS=long cargo test --release --locked --test api faults:: -- --nocapture --test-threads=1

# The long form of the fuzzing: so many seconds for each reader, then every operation of the schema many times.
SECONDS ?= 120
fuzz: tools
	ENCOURS_FUZZ_SECONDS=$(SECONDS) cargo test --release --locked --test api fuzz:: -- --nocapture --test-threads=1
	ENCOURS_HOSTILE_ROUNDS=60 cargo test --release --locked --test api hostile:: -- --nocapture

# Measures the questions beside raw SQL on companies of 10 thousand and 200 thousand invoices; SIZE=l has 2 million.
bench: tools
	sh scripts/bench.sh $(or $(SIZE),s m)

# What the binary is made of, as CycloneDX JSON.
sbom:
	sh scripts/sbom.sh > encours.cdx.json

# Known vulnerabilities of the dependencies: asks the advisory database of RustSec and the registry of npm.
audit:
	cargo deny check advisories
	cd tests/conformance && npm audit
