//! Which commands exist, and the order in which a request is judged.

use crate::world::{LOCKED, Plan, World};

#[tokio::test]
async fn answers_simple_commands() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("PING", "+PONG\r\n").await; // 16
    client.exchange("PING x", "$1\r\nx\r\n").await; // 17
    client.exchange("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n").await; // 18
    client.exchange("ROLE", "*2\r\n$8\r\nsentinel\r\n*0\r\n").await; // 21
    client.exchange("ROLE x", "-ERR wrong number of arguments for 'role' command\r\n").await; // 20
    client.exchange("SENTINEL MYID", format!("$40\r\n{}\r\n", crate::world::MYID)).await; // 22
    client.exchange("SENTINEL myid x", "-ERR wrong number of arguments for 'sentinel|myid' command\r\n").await; // 23
    client.exchange("GET a", "-ERR unknown command 'GET', with args beginning with: 'a' \r\n").await; // 1
    client.exchange("COMMAND COUNT", ":15\r\n").await;
    client.exchange("COMMAND INFO nope", "*1\r\n$-1\r\n").await;
    client
        .exchange(
            "COMMAND LIST FILTERBY PATTERN *sub*",
            ["*4\r\n$9\r\nsubscribe\r\n$10\r\npsubscribe\r\n", "$11\r\nunsubscribe\r\n$12\r\npunsubscribe\r\n"]
                .concat(),
        )
        .await;
    client.exchange("COMMAND DOCS nope", "*0\r\n").await;
    let ping = "*1\r\n*10\r\n$4\r\nping\r\n:-1\r\n~1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n~2\r\n+@fast\r\n+@connection\r\n~2\r\n\
                $25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n~0\r\n~0\r\n";
    world.resp3_client().await.exchange("COMMAND INFO ping", ping).await;
    client.exchange("COMMAND GETKEYS ping", "-ERR The command has no key arguments\r\n").await;
    client.exchange("COMMAND GETKEYS get a", "-ERR Invalid command specified\r\n").await;
    client.exchange("QUIT", "+OK\r\n").await;
    client.expect_end().await;
}

/// commands.md 153
#[tokio::test]
async fn help_pages_begin_and_end_as_stocks_do() {
    let world = World::new();
    let mut client = world.client().await;
    for container in ["SENTINEL", "CLIENT", "COMMAND"] {
        client.ask(&format!("{container} HELP")).await;
        let header = client.line().await;
        let mut lines = Vec::new();
        for _ in 0..header[1..].parse::<usize>().unwrap() {
            lines.push(client.line().await);
        }
        assert_eq!(lines[0], format!("+{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
        assert_eq!(lines[lines.len() - 2..], ["+HELP", "+    Prints this help."]);
    }
    client.exchange("SENTINEL HELP x", "-ERR wrong number of arguments for 'sentinel|help' command\r\n").await;
}

/// commands.md 173: everything that concerns the words comes before authentication, and nothing else does.
#[tokio::test]
async fn strangers_learn_nothing_but_names_and_arities() {
    let world = World::planned(Plan { users: LOCKED, ..Plan::default() });
    let mut client = world.client().await;
    let refused = "-NOAUTH Authentication required.\r\n";
    for command in ["SENTINEL MASTERS", "PING", "INFO", "COMMAND", "SUBSCRIBE a", "PUBLISH a b", "SHUTDOWN"] {
        client.exchange(command, refused).await;
    }
    client.exchange("FOO x", "-ERR unknown command 'FOO', with args beginning with: 'x' \r\n").await;
    client.exchange("SENTINEL foo", "-ERR unknown subcommand 'foo'. Try SENTINEL HELP.\r\n").await;
    client.exchange("SENTINEL masters x", "-ERR wrong number of arguments for 'sentinel|masters' command\r\n").await;
    client.exchange("QUIT", "+OK\r\n").await;
    client.expect_end().await;
}

/// commands.md 172, 207
#[tokio::test]
async fn a_password_opens() {
    let world = World::planned(Plan { users: LOCKED, ..Plan::default() });
    let mut client = world.client().await;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    client.exchange("AUTH wrong", wrong).await;
    client.exchange("AUTH other secret", wrong).await;
    client.exchange("AUTH a b c", "-ERR syntax error\r\n").await;
    client.exchange("PING", "-NOAUTH Authentication required.\r\n").await;
    client.exchange("AUTH secret", "+OK\r\n").await;
    client.exchange("PING", "+PONG\r\n").await;
    // A failed attempt does not undo an earlier success.
    client.exchange("AUTH wrong", wrong).await;
    client.exchange("PING", "+PONG\r\n").await;
    client.exchange("AUTH default secret", "+OK\r\n").await;
}

/// commands.md 171
#[tokio::test]
async fn auth_without_a_password_is_a_mistake() {
    let world = World::new();
    let mut client = world.client().await;
    client
        .exchange(
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
             configuration is correct?\r\n",
        )
        .await;
    client.exchange("AUTH default x", "+OK\r\n").await;
    client.exchange("AUTH", "-ERR wrong number of arguments for 'auth' command\r\n").await;
}
