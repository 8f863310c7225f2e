LISTEN ?= 127.0.0.1:8080
# The data directory; empty for the default one.
DATA ?=

.PHONY: run test setup fmt check schema drill faults fuzz

# Serves the demo company on a private database, and prints tokens to try it with.
run: setup
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

# Installs what is missing on this machine.
setup:
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

# Backs up a demo company, restores it beside itself, checks and compares; then loses it and goes back to a moment.
drill: setup
	cargo build --release --locked
	ENCOURS=target/release/encours sh scripts/drill.sh
	ENCOURS=target/release/encours sh scripts/drill-pitr.sh

# The long form of the tests of faults and crowds: 50 kills, 64 writers, with their figures.
faults: setup
	ENCOURS_FAULTS=long cargo test --release --locked --test api faults:: -- --nocapture --test-threads=1

# The long form of the fuzzing: so many seconds for each reader, then every operation of the schema many times.
SECONDS ?= 120
fuzz: setup
	ENCOURS_FUZZ_SECONDS=$(SECONDS) cargo test --release --locked --test api fuzz:: -- --nocapture --test-threads=1
	ENCOURS_HOSTILE_ROUNDS=60 cargo test --release --locked --test api hostile:: -- --nocapture
