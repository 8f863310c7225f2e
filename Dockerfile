# The server alone: it needs DATABASE_URL, since this image holds no PostgreSQL server.
FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpq-dev pkg-config \
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
    && cargo build --release --locked --bin encours

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libpq5 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/encours encours
COPY --from=build /build/target/release/encours /usr/local/bin/encours
USER encours
WORKDIR /var/lib/encours
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["encours", "health", "--listen", "127.0.0.1:8080"]
ENTRYPOINT ["encours"]
CMD ["serve", "--listen", "0.0.0.0:8080"]
