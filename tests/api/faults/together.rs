//! Two instances that start together on nothing: one makes and migrates the database, the other waits for it.

use crate::harness::{Second, command_on};

use super::fresh_directory;

#[test]
fn two_instances_start_and_migrate_together() {
    if std::env::var_os("TEST_DATABASE_URL").is_some() {
        return;
    }
    let data = fresh_directory();
    let servers: Vec<Second> = std::thread::scope(|scope| {
        let starting: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| Second::on(&data, &[])))
            .collect();
        starting
            .into_iter()
            .map(|it| it.join().expect("a server"))
            .collect()
    });
    let company = command_on(&data, &["company", "create", "--name", "Both"]);
    let token = command_on(&data, &["token", "--company", &company, "--role", "ADMIN"]);
    for (place, server) in servers.iter().enumerate() {
        assert_eq!(server.status(&token), 200);
        let document = format!(
            "mutation {{ createClient(input: {{ name: \"Of {place}\" }}) {{ client {{ number }} userErrors {{ code }} }} }}"
        );
        let made = server.ask(&token, &document);
        assert!(
            made["data"]["createClient"]["client"]["number"].is_string(),
            "{made}"
        );
    }
    for server in &servers {
        let seen = server.ask(&token, "{ clients { totalCount } integrityCheck { ok } }");
        assert_eq!(seen["data"]["clients"]["totalCount"], 2, "{seen}");
        assert_eq!(seen["data"]["integrityCheck"]["ok"], true, "{seen}");
    }
    // The database stays until the last of them has gone.
    let mut servers = servers.into_iter();
    drop(servers.next());
    let last = servers.next().expect("the other");
    assert_eq!(last.status(&token), 200);
    drop(last);
    let _ = std::fs::remove_dir_all(&data);
}
