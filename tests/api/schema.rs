//! The published schema.

use std::process::Command;

#[test]
fn the_published_schema_is_the_served_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_encours"))
        .arg("schema")
        .output()
        .expect("the encours binary");
    assert!(output.status.success());
    let served = String::from_utf8(output.stdout).expect("UTF-8");
    let published = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql"))
        .expect("schema.graphql");
    assert!(
        served == published,
        "the schema changed: cargo run -- schema > schema.graphql"
    );
}
