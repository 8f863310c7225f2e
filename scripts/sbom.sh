#!/bin/sh
# Writes what the binary is made of, as a bill of materials in CycloneDX 1.5 JSON, on standard output.
#
# The crates that the lock file names for the binary on this platform, without those of tests. The same sources give the
# same bytes: no clock, no serial number. Needs cargo and jq.
set -eu
cd "$(dirname "$0")/.."

command -v jq >/dev/null 2>&1 || {
    echo "sbom: jq is missing: apt-get install jq" >&2
    exit 1
}

target=$(rustc -vV | sed -n 's/^host: //p')
cargo metadata --format-version 1 --locked --filter-platform "$target" | jq -S --arg target "$target" '
    def purl: "pkg:cargo/\(.name)@\(.version)";
    # "MIT/Apache-2.0" is how old crates write "MIT OR Apache-2.0".
    def licence: if .license then [{ expression: (.license | gsub("/"; " OR ")) }] else [] end;
    (.packages | map({ key: .id, value: . }) | from_entries) as $packages
    | (.resolve.nodes
        | map({ key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind != "dev")) | .pkg] })
        | from_entries) as $needs
    | .resolve.root as $root
    | { seen: {}, next: [$root] }
    | until(.next == [];
        (.seen + (.next | map({ key: ., value: true }) | from_entries)) as $seen
        | { seen: $seen, next: [.next[] | $needs[.][]] | unique | map(select($seen[.] | not)) })
    | (.seen | keys) as $shipped
    | {
        bomFormat: "CycloneDX",
        specVersion: "1.5",
        version: 1,
        metadata: {
            component: ($packages[$root] | {
                type: "application",
                "bom-ref": purl, name, version, purl: purl, description, licenses: licence,
            }),
            properties: [{ name: "cargo:target", value: $target }],
        },
        components: [$shipped[] | select(. != $root) | $packages[.] | {
            type: "library",
            "bom-ref": purl, name, version, purl: purl, licenses: licence, scope: "required",
        } + (if .repository then { externalReferences: [{ type: "vcs", url: .repository }] } else {} end)]
            | sort_by(.purl),
        dependencies: [$shipped[] | . as $id | {
            ref: ($packages[$id] | purl),
            dependsOn: [$needs[$id][] | $packages[.] | purl] | unique,
        }] | sort_by(.ref),
    }'
