//! A layer uses the layers below it, never those above: read from the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// A layer's folder and what its sources must not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "crate::error",
            "crate::store",
            "crate::service",
            "crate::graphql",
            "crate::http",
            "diesel",
            "async_graphql",
            "actix_web",
            "Utc::now",
            "Local::now",
        ],
    ),
    (
        "formats",
        &[
            "crate::error",
            "crate::store",
            "crate::service",
            "crate::graphql",
            "crate::http",
            "diesel",
            "async_graphql",
            "actix_web",
            "Utc::now",
            "Local::now",
        ],
    ),
    (
        "store",
        &[
            "crate::service",
            "crate::graphql",
            "crate::http",
            "async_graphql",
            "actix_web",
        ],
    ),
    (
        "service",
        &[
            "crate::graphql",
            "crate::http",
            "async_graphql",
            "actix_web",
        ],
    ),
    ("graphql", &["crate::http", "diesel::", "actix_web"]),
    ("http", &["diesel::"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn layers_use_only_what_is_below_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (layer, names) in FORBIDDEN {
        let files = sources(&src.join(layer));
        assert!(!files.is_empty(), "{layer} has no sources");
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            for (number, line) in (1..).zip(text.lines()) {
                let code = line.split("//").next().unwrap_or_default();
                wrong.extend(
                    names
                        .iter()
                        .filter(|name| code.contains(**name))
                        .map(|name| format!("{}:{number}: {name}", file.display())),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
