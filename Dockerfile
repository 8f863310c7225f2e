# The server alone: it needs DATABASE_URL, since this image holds no PostgreSQL server.
FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends jq libpq-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies in a layer of their own: it changes with these two files only.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/api \
    && echo 'fn main() {}' | tee src/main.rs tests/api/main.rs > /dev/null \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -rf src tests

COPY . .
# Newer than the placeholders, whatever the dates in the context.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked --bin encours \
    && sh scripts/sbom.sh > encours.cdx.json

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libpq5 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --create-home --skel /dev/null --home-dir /var/lib/encours --shell /usr/sbin/nologin encours
COPY --from=build /build/target/release/encours /usr/local/bin/encours
# What the binary is made of (CycloneDX).
COPY --from=build /build/encours.cdx.json /usr/share/encours/encours.cdx.json
# By number, so that an orchestrator sees that it is not root.
USER 10001:10001
WORKDIR /var/lib/encours
ENV ENCOURS_DATA=/var/lib/encours
# Attached files, and the secret that signs tokens when none is set. /tmp takes uploads while they are read: both must be
# writable when the root file system is not.
VOLUME ["/var/lib/encours"]
EXPOSE 8080
# By TLS when ENCOURS_TLS_CERT is set.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["encours", "health", "--listen", "127.0.0.1:8080"]
ENTRYPOINT ["encours"]
CMD ["serve", "--listen", "0.0.0.0:8080"]
