#!/bin/sh
# Installs what the build needs and this machine lacks; with the argument `tests` also what the tests need: Node.js and
# the packages of tests/conformance. Does nothing when all is there.
#
# Never creates, starts or changes a system-wide PostgreSQL cluster: encours runs a private one from the same binaries.
set -eu

cd "$(dirname "$0")/.."
purpose=${1:-build}

say() {
    printf 'setup: %s\n' "$*" >&2
}

has() {
    command -v "$1" >/dev/null 2>&1
}

has_libpq() {
    { has pkg-config && pkg-config --exists libpq; } || has pg_config
}

# The places where encours looks, in src/embedded.rs.
has_postgres() {
    if [ -n "${TEST_DATABASE_URL:-}" ] || has initdb; then
        return 0
    fi
    for dir in "${ENCOURS_PG_BIN:-/none}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin \
        /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin; do
        if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then
            return 0
        fi
    done
    return 1
}

missing_packages() {
    has cc || echo gcc libc6-dev
    has make || echo make
    has pkg-config || echo pkg-config
    has_libpq || echo libpq-dev
    has_postgres || echo postgresql
    if [ "$purpose" = tests ]; then
        has node || echo nodejs
        has npm || echo npm
    fi
}

# The published audits and clients that tests/api/conformance.rs runs, exactly as the lock file names them.
install_conformance() {
    dir=tests/conformance
    if [ "$dir/node_modules/.package-lock.json" -nt "$dir/package-lock.json" ]; then
        return 0
    fi
    say "installing the packages of $dir"
    (cd "$dir" && npm ci --no-audit --no-fund --ignore-scripts --silent) ||
        say "npm ci failed in $dir: the tests that need it will say so, the others run"
}

finish() {
    if [ "$purpose" = tests ]; then
        install_conformance
    fi
    exit 0
}

# Without a terminal there is nobody to type a password.
if [ -t 0 ]; then
    sudo=sudo
else
    sudo="sudo -n"
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env "$@"
    else
        $sudo env "$@"
    fi
}

# The package postgresql makes and starts a cluster of its own when it is first installed, unless told not to.
createcluster_dir=/etc/postgresql-common/createcluster.d
no_cluster=$createcluster_dir/zz-encours-setup.conf

forbid_system_cluster() {
    trap allow_system_cluster EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    as_root mkdir -p "$createcluster_dir"
    echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
}

allow_system_cluster() {
    as_root rm -f "$no_cluster"
    as_root rmdir "$createcluster_dir" 2>/dev/null || true
}

install_on_debian() {
    if [ "$(id -u)" -ne 0 ] && ! has sudo; then
        say "missing: $*. As root, run: apt-get install $*"
        exit 1
    fi
    say "installing: $*"
    case " $* " in
    *" postgresql "*) forbid_system_cluster ;;
    esac
    as_root apt-get update -qq
    as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

if ! has cargo; then
    say "cargo is missing: install Rust from https://rustup.rs, then open a new shell (or: . ~/.cargo/env)"
    exit 1
fi

packages=$(missing_packages | tr '\n' ' ')
if [ -z "$packages" ]; then
    finish
fi
if has apt-get; then
    # shellcheck disable=SC2086 # a list of words
    install_on_debian $packages
    finish
fi

if [ "$purpose" = tests ]; then
    say "some of these are missing: C compiler, pkg-config, libpq, PostgreSQL server, Node.js. Install them with:"
    node="nodejs npm"
    brewed_node=" node"
else
    say "some of these are missing: C compiler, pkg-config, libpq, PostgreSQL server. Install them with:"
    node=""
    brewed_node=""
fi
case "$(uname -s)" in
Darwin) say "  xcode-select --install; brew install pkgconf libpq postgresql@17$brewed_node" ;;
*)
    if has dnf; then
        say "  sudo dnf install gcc pkgconf-pkg-config libpq-devel postgresql-server $node"
    elif has pacman; then
        say "  sudo pacman -S --needed gcc pkgconf postgresql $node"
    elif has apk; then
        say "  apk add build-base pkgconf libpq-dev postgresql $node"
    elif has zypper; then
        say "  sudo zypper install gcc pkg-config postgresql-devel postgresql-server $node"
    else
        say "  the package manager of this system"
    fi
    ;;
esac
exit 1
