//! HELLO and CLIENT.

use crate::wire::Wire;
use crate::world::{LOCKED, Plan, World};

fn greeting(header: &str, protocol: u8, id: u64) -> String {
    format!(
        "{header}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:{protocol}\r\n\
         $2\r\nid\r\n:{id}\r\n$4\r\nmode\r\n$8\r\nsentinel\r\n$7\r\nmodules\r\n*0\r\n"
    )
}

/// commands.md 165 to 168
#[tokio::test]
async fn hello_chooses_the_protocol() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("HELLO", greeting("*12", 2, 1)).await;
    client.exchange("hello 3 setname joe", greeting("%6", 3, 1)).await;
    client.exchange("CLIENT GETNAME", "$3\r\njoe\r\n").await;
    client.exchange("HELLO", greeting("%6", 3, 1)).await;
    client.exchange("HELLO 2 SETNAME jim AUTH default any", greeting("*12", 2, 1)).await;
    for version in ["4", "-1", "1"] {
        client.exchange(&format!("HELLO {version}"), "-NOPROTO unsupported protocol version\r\n").await;
    }
    for version in ["x", "3.0", "02", "99999999999999999999"] {
        let expected = "-ERR Protocol version is not an integer or out of range\r\n";
        client.exchange(&format!("HELLO {version}"), expected).await;
    }
    for (words, option) in [("FOO", "FOO"), ("AUTH u", "AUTH"), ("SETNAME", "SETNAME")] {
        let expected = format!("-ERR Syntax error in HELLO option '{option}'\r\n");
        client.exchange(&format!("HELLO 3 {words}"), expected).await;
    }
    let bad_name = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    client.exchange("HELLO 3 SETNAME a\nb", bad_name).await;
    client.exchange("CLIENT GETNAME", "$3\r\njim\r\n").await;
}

/// commands.md 169, 170
#[tokio::test]
async fn hello_keeps_the_protocol_without_the_right_password() {
    let world = World::planned(Plan { users: LOCKED, ..Plan::default() });
    let mut client = world.client().await;
    let unauthenticated = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                           <user> <pass> option can be used to authenticate the client and select the RESP protocol \
                           version at the same time\r\n";
    client.exchange("HELLO 3", unauthenticated).await;
    client.exchange("HELLO", unauthenticated).await;
    client.exchange("HELLO 4", "-NOPROTO unsupported protocol version\r\n").await;
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    client.exchange("HELLO 3 SETNAME joe AUTH default wrong", wrong).await;
    client.exchange("PING", "-NOAUTH Authentication required.\r\n").await;
    // A name and a right password count even if a later option is wrong.
    let bad_option = "-ERR Syntax error in HELLO option 'FOO'\r\n";
    client.exchange("HELLO 3 SETNAME joe AUTH default secret FOO", bad_option).await;
    client.exchange("CLIENT GETNAME", "$3\r\njoe\r\n").await;
    client.exchange("HELLO 3 SETNAME joe AUTH default secret", greeting("%6", 3, 1)).await;
}

/// commands.md 174, 178
#[tokio::test]
async fn clients_name_themselves() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("CLIENT ID", ":1\r\n").await;
    client.exchange("CLIENT GETNAME", "$-1\r\n").await;
    client.exchange("CLIENT SETNAME joe", "+OK\r\n").await;
    client.exchange("CLIENT GETNAME", "$3\r\njoe\r\n").await;
    client
        .exchange("CLIENT SETNAME a\tb", "-ERR Client names cannot contain spaces, newlines or special characters.\r\n")
        .await;
    client.exchange("CLIENT SETNAME ", "+OK\r\n").await;
    client.exchange("CLIENT GETNAME", "$-1\r\n").await;
    client.exchange("CLIENT SETINFO lib-name redis-py", "+OK\r\n").await;
    client.exchange("CLIENT SETINFO LIB-VER 5.0.0", "+OK\r\n").await;
    client.exchange("CLIENT SETINFO lib-foo x", "-ERR Unrecognized option 'lib-foo'\r\n").await;
    client.ask("CLIENT INFO").await;
    assert!(client.bulk().await.ends_with(" lib-name=redis-py lib-ver=5.0.0\n"));
}

async fn list(client: &mut Wire, filter: &str) -> Vec<String> {
    client.ask(&format!("CLIENT LIST{filter}")).await;
    client.bulk().await.lines().map(str::to_owned).collect()
}

/// commands.md 175
#[tokio::test]
async fn lists_clients() {
    let world = World::new();
    let mut first = world.client().await;
    first.exchange("CLIENT SETNAME joe", "+OK\r\n").await;
    let mut second = world.client().await;
    second
        .exchange(
            "SUBSCRIBE a b",
            ["*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"].concat(),
        )
        .await;
    let lines = list(&mut first, "").await;
    let address = first.stream.local_addr().unwrap();
    let expected = format!(
        "id=1 addr={address} laddr={} fd=0 name=joe age=0 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 \
         qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd=client|list \
         user=default redir=-1 resp=2 lib-name= lib-ver=",
        world.addr
    );
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], expected);
    assert!(lines[1].contains(" flags=P db=0 sub=2 psub=0 ") && lines[1].contains(" cmd=subscribe "), "{}", lines[1]);
    assert_eq!(list(&mut first, " TYPE pubsub").await.len(), 1);
    assert_eq!(list(&mut first, " type Normal").await.len(), 1);
    assert_eq!(list(&mut first, " TYPE master").await.len(), 0);
    assert_eq!(list(&mut first, " ID 2 7").await.len(), 1);
    first.exchange("CLIENT LIST TYPE bad", "-ERR Unknown client type 'bad'\r\n").await;
    first.exchange("CLIENT LIST FOO", "-ERR syntax error\r\n").await;
    first.exchange("CLIENT LIST ID x", "-ERR Invalid client ID\r\n").await;
    first.ask("HELLO 3").await;
    first.expect(greeting("%6", 3, 1)).await;
    first.ask("CLIENT INFO").await;
    let header = first.line().await;
    assert!(header.starts_with('='), "{header}");
    let text = first.line().await;
    assert!(text.starts_with("txt:id=1 ") && text.ends_with("resp=3 lib-name= lib-ver=\n"), "{text:?}");
}

/// commands.md 176
#[tokio::test]
async fn kills_clients() {
    let world = World::new();
    let mut killer = world.client().await;
    killer.exchange("PING", "+PONG\r\n").await;
    let mut victim = world.client().await;
    victim.exchange("PING", "+PONG\r\n").await;
    killer.exchange("CLIENT KILL 127.0.0.1:1", "-ERR No such client\r\n").await;
    killer.exchange(&format!("CLIENT KILL {}", victim.stream.local_addr().unwrap()), "+OK\r\n").await;
    victim.expect_end().await;
    let mut victim = world.client().await;
    victim.exchange("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n").await;
    killer.exchange("CLIENT KILL TYPE pubsub", ":1\r\n").await;
    victim.expect_end().await;
    killer.exchange("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n").await;
    killer.exchange("CLIENT KILL USER nope", "-ERR No such user 'nope'\r\n").await;
    killer.exchange("CLIENT KILL ID 1", ":0\r\n").await;
    killer.exchange("CLIENT KILL ID 1 SKIPME", "-ERR syntax error\r\n").await;
    killer.exchange("CLIENT KILL ID 1 SKIPME no", ":1\r\n").await;
    killer.expect_end().await;
}

/// commands.md 177
#[tokio::test]
async fn replies_can_be_turned_off() {
    let world = World::new();
    let mut client = world.client().await;
    client.exchange("CLIENT REPLY ON", "+OK\r\n").await;
    for command in ["CLIENT REPLY SKIP", "PING skipped", "PING shown"] {
        client.ask(command).await;
    }
    client.expect("$5\r\nshown\r\n").await;
    for command in ["CLIENT REPLY OFF", "PING", "NOPE", "CLIENT REPLY SKIP", "PING", "CLIENT REPLY ON", "PING again"] {
        client.ask(command).await;
    }
    client.expect("+OK\r\n$5\r\nagain\r\n").await;
    client.exchange("CLIENT REPLY what", "-ERR syntax error\r\n").await;
    client.exchange("CLIENT NO-EVICT on", "+OK\r\n").await;
    client.exchange("CLIENT NO-EVICT what", "-ERR syntax error\r\n").await;
    client.exchange("CLIENT GETREDIR", ":-1\r\n").await;
    client.exchange("CLIENT UNBLOCK 7", ":0\r\n").await;
}
