LISTEN ?= 127.0.0.1:8080
# The data directory; empty for the default one.
DATA ?=

# The companies that `make data` makes: s, m or l.
SIZE ?= s

.PHONY: run test setup fmt check schema drill data

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

# Fills the database at DATABASE_URL with companies of a known size, and says how fast they went in.
data:
	cargo bench --locked --bench data -- --size $(SIZE)

# Backs up a demo company, restores it beside itself, checks and compares.
drill: setup
	cargo build --release --locked
	ENCOURS=target/release/encours sh scripts/drill.sh
