//! Rules, as stock applies and prints them.

use proptest::prelude::*;

use super::commands::{CATEGORIES, all, find};
use super::users::{Unmatched, rules_of};
use super::*;

fn apply(user: &mut User, rules: &str) -> Result<(), RuleError> {
    let rules = rules_of(&rules.split(' ').map(str::as_bytes).collect::<Vec<_>>()).expect("closed");
    rules.iter().try_for_each(|rule| user.apply(rule, Origin::Operator))
}

fn user(rules: &str) -> User {
    let mut user = User::new(PubsubDefault::ResetChannels);
    apply(&mut user, rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
    user
}

fn printed(user: &User) -> String {
    String::from_utf8(user.rules().join(&b' ')).expect("text")
}

/// commands.md 208: each pair is what stock prints; where it says single commands in an order of its own, they are few.
#[test]
fn rules_are_printed_as_stock_prints_them() {
    for (rules, expected) in [
        ("", "off resetchannels -@all"),
        ("ON nopass +@ALL AllKeys allchannels", "on nopass ~* &* +@all"),
        ("+@string", "off resetchannels -@all"),
        ("~a ~b %R~c %W~d %rw~e", "off ~a ~b %R~c %W~d ~e resetchannels -@all"),
        ("%R~a %W~a %R", "off ~a %R~ resetchannels -@all"),
        ("~x ~*", "off ~* resetchannels -@all"),
        ("&foo &bar &foo &", "off resetchannels &foo &bar & -@all"),
        ("nopass >x resetpass", "off resetchannels -@all"),
        ("sanitize-payload on", "on sanitize-payload resetchannels -@all"),
        ("+ping|foo +ping|bar +ping|FOO", "off resetchannels -@all +ping|foo +ping|bar"),
        ("+ping|foo +PING", "off resetchannels -@all +ping"),
        ("+ping|foo -ping", "off resetchannels -@all"),
        ("+SENTINEL|Masters", "off resetchannels -@all +sentinel|masters"),
        ("+@all -ping", "off resetchannels +@all -ping"),
        ("+@all -ping -@admin", "off resetchannels +@all -@admin -ping"),
        ("+@all -@dangerous", "off resetchannels +@all -@dangerous"),
        ("+@all -ping +ping", "off resetchannels +@all"),
        ("+@connection -client|id", "off resetchannels -@all +@connection -client|id"),
        ("+auth +hello +ping", "off resetchannels -@all +@fast -publish -role"),
        ("+@slow", "off resetchannels -@all +@slow"),
        ("+client", "off resetchannels -@all +@connection -auth +client -command -hello -ping"),
        ("+client -client", "off resetchannels -@all"),
        ("+ping|foo +@connection", "off resetchannels -@all +@connection"),
        ("() (+ping)", "off resetchannels -@all (resetchannels -@all) (resetchannels -@all +ping)"),
        ("( +ping ~a ) (allchannels)", "off resetchannels -@all (~a resetchannels -@all +ping) (&* -@all)"),
        ("(+ping) clearselectors", "off resetchannels -@all"),
        ("+@all ~* &* on >x (+ping) reset", "off sanitize-payload resetchannels -@all"),
        ("+sentinel|primaries +client|setinfo", "off resetchannels -@all +client|setname +sentinel|masters"),
        ("%RW~* ~z", "off %RW~* ~z resetchannels -@all"),
    ] {
        assert_eq!(printed(&user(rules)), expected, "{rules}");
    }
}

/// commands.md 211: also a command that servers have.
#[test]
fn wrong_rules_are_refused_in_stocks_words() {
    use RuleError::{AllChannels, AllKeys, BadDigest, FirstArgOfSubcommand, NoSuchPassword, Syntax, Unknown};
    let upper = format!("#{}", "A".repeat(64));
    for (rules, error) in [
        ("+get", Unknown),
        ("+@sentinel", Unknown),
        ("+", Unknown),
        ("-", Unknown),
        ("+|", Unknown),
        ("+sentinel|bogus", Unknown),
        ("-ping|foo", Unknown),
        ("+ping|a|b", Unknown),
        ("(+get)", Unknown),
        ("+ping|", Syntax),
        ("+sentinel|", Syntax),
        ("+ping|a\tb", Syntax),
        ("@", Syntax),
        ("foo", Syntax),
        ("%", Syntax),
        ("%~x", Syntax),
        ("%X~a", Syntax),
        ("%RWR~x", Syntax),
        ("&a\tb", Syntax),
        ("~a\0b", Syntax),
        ("(on)", Syntax),
        ("(>x)", Syntax),
        ("((+ping))", Syntax),
        ("(&\"x)", Syntax),
        ("+sentinel|masters|x", FirstArgOfSubcommand),
        ("~* ~foo", AllKeys),
        ("~* %R~foo", AllKeys),
        ("&* &foo", AllChannels),
        ("#zz", BadDigest),
        ("!zz", BadDigest),
        (&upper, BadDigest),
        ("<x", NoSuchPassword),
    ] {
        let mut user = User::new(PubsubDefault::ResetChannels);
        assert_eq!(apply(&mut user, rules), Err(error), "{rules}");
    }
    assert_eq!(rules_of(&["on", "(+ping", "~a"]), Err(Unmatched(1)));
    assert_eq!(rules_of(&["(+ping", ")x"]), Err(Unmatched(0)));
}

/// commands.md 207, 9
#[test]
fn passwords_open() {
    let mut bob = user("on >a >b");
    assert!(bob.admits(b"a") && bob.admits(b"b") && !bob.admits(b"c") && !bob.admits(b""));
    apply(&mut bob, "<a").expect("it has that one");
    assert!(!bob.admits(b"a"));
    apply(&mut bob, "nopass").expect("a rule");
    assert!(bob.admits(b"anything") && bob.is_open() && bob.passwords().is_empty());
    apply(&mut bob, "off").expect("a rule");
    assert!(!bob.admits(b"anything") && !bob.is_open() && bob.needs_no_password());
    assert!(!user("on").admits(b""));
}

fn check(user: &User, command: &str, arguments: &[&str], channels: Channels) -> Result<(), Denial> {
    user.check(&Access { command: find(command.as_bytes()), arguments, channels })
}

/// commands.md 208, 209
#[test]
fn requests_are_checked_for_command_and_channels() {
    let bob = user("+sentinel|masters +ping|foo +subscribe +psubscribe &+odown &a*");
    assert_eq!(check(&bob, "sentinel|masters", &[], Channels::None), Ok(()));
    assert_eq!(check(&bob, "sentinel|primaries", &[], Channels::None), Ok(()));
    assert_eq!(check(&bob, "sentinel|replicas", &["m"], Channels::None), Err(Denial::Command));
    assert_eq!(check(&bob, "ping", &["FOO"], Channels::None), Ok(()));
    assert_eq!(check(&bob, "ping", &["bar"], Channels::None), Err(Denial::Command));
    assert_eq!(check(&bob, "ping", &[], Channels::None), Err(Denial::Command));
    assert_eq!(check(&bob, "subscribe", &["+odown", "abc"], Channels::Names), Ok(()));
    assert_eq!(check(&bob, "subscribe", &["+odown", "x"], Channels::Names), Err(Denial::Channel(1)));
    assert_eq!(check(&bob, "psubscribe", &["a*"], Channels::Patterns), Ok(()));
    assert_eq!(check(&bob, "psubscribe", &["abc"], Channels::Patterns), Err(Denial::Channel(0)));
    assert_eq!(check(&bob, "publish", &["x", "y"], Channels::First), Err(Denial::Command));
    let bob = user("+publish &x (+info) (+publish &y)");
    assert_eq!(check(&bob, "publish", &["y", "-"], Channels::First), Ok(()));
    assert_eq!(check(&bob, "publish", &["z", "x"], Channels::First), Err(Denial::Channel(0)));
    assert_eq!(check(&bob, "role", &[], Channels::None), Err(Denial::Command));
    assert_eq!(bob.check::<&str>(&Access { command: None, arguments: &[], channels: Channels::None }), Ok(()));
}

#[test]
fn subscriptions_are_looked_at_when_there_are_fewer_channels() {
    let fewer = |before: &str, after: &str| user(after).has_fewer_channels(&user(before));
    assert!(!fewer("&x", "&x &y"));
    assert!(!fewer("&x", "&*"));
    assert!(!fewer("&x &y", "&x (&y)"));
    assert!(!fewer("+ping &*", "-@all (&*)"));
    assert!(fewer("&x &y", "&x"));
    assert!(fewer("&*", "&x"));
    let bob = user("-@all &x (&y*)");
    assert!(bob.permits_channel(b"x", false) && bob.permits_channel(b"yes", false));
    assert!(bob.permits_channel(b"y*", true) && !bob.permits_channel(b"yes", true));
}

/// How every error about a file ends.
const LAST: &str = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";

/// config.md 200, 4.5: all errors of a file in one line.
#[test]
fn a_file_is_read_whole_or_not_at_all() {
    let read = |text: &str| Users::from_file(text.as_bytes(), "FILE", PubsubDefault::ResetChannels);
    let error = |text: &str| read(text).map(|users| users.iter().count()).expect_err("wrong");
    assert_eq!(
        error("# x\nuser foo +nope\nfoo\nuser\nuser a b c >x\nuser q +@nope +nope\nuser q\n"),
        format!(
            "FILE:1 should start with user keyword followed by the username. FILE:2: Error in applying operation \
             '+nope': Unknown command or category name in ACL. FILE:3 should start with user keyword followed by the \
             username. FILE:4 should start with user keyword followed by the username. FILE:5: Syntax error. FILE:6: \
             Error in applying operation '+@nope': Unknown command or category name in ACL. FILE:6: Error in applying \
             operation '+nope': Unknown command or category name in ACL. WARNING: Duplicate user 'q' found on line 7. \
             {LAST}"
        )
    );
    assert_eq!(error("USER x\n"), format!("FILE:1 should start with user keyword followed by the username. {LAST}"));
    assert!(error("user x (+ping\n").contains("FILE:1: Unmatched parenthesis"));
    let users = read("user foo on >x  +ping\r\n\n  user bar off (~a +info) \n").expect("right");
    let text = String::from_utf8(users.file_text()).expect("text");
    assert_eq!(
        text,
        "user bar off resetchannels -@all (~a resetchannels -@all +info)\nuser default on nopass ~* &* +@all\nuser foo \
         on #2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 resetchannels -@all +ping\n"
    );
    assert_eq!(read(&text).expect("right").file_text(), users.file_text());
}

#[test]
fn rules_that_are_odd_are_remarked_on() {
    let remarks = |rule: &str| selector::remarks(rule.as_bytes());
    assert!(remarks("(~x +ping|a +client|id)")[0].ends_with("disabled in the future (offender: +ping|a)"));
    let of_servers = "ACL rule '-config|get' is about a command that no Sentinel has, and changes nothing.";
    assert_eq!(remarks("-config|get"), [of_servers]);
    for rule in ["+ping", "+client|id", "-@all", ">+ping|x", "+bogus|x", "+", ""] {
        assert_eq!(remarks(rule), [""; 0], "{rule}");
    }
    let users = Users::from_file(b"user x +get +ping|y\n", "f", PubsubDefault::ResetChannels).expect("right");
    assert_eq!(users.remarks().len(), 2);
}

#[test]
fn a_user_with_a_name_of_before_is_another() {
    let mut users = Users::new(PubsubDefault::ResetChannels);
    users.put(b"bob", user("on"));
    let (bob, default) = (users.find(b"bob").expect("there").serial, users.default_account().serial);
    users.put(b"bob", user("off"));
    assert_eq!(users.find(b"bob").expect("there").serial, bob);
    assert!(users.remove(b"bob") && !users.remove(b"bob"));
    users.put(b"bob", user("on"));
    assert_ne!(users.find(b"bob").expect("there").serial, bob);
    let again = users.clone();
    users.replace(again);
    assert_eq!(users.default_account().serial, default);
    assert_ne!(users.find(b"bob").expect("there").serial, bob + 1);
}

fn rule() -> impl Strategy<Value = String> {
    let command = prop::sample::select(all().map(commands::CommandId::name).collect::<Vec<_>>());
    let category = prop::sample::select(CATEGORIES);
    let sign = || prop::sample::select(vec!["+", "-"]);
    let pattern = "[a-z*?+-]{1,3}";
    prop_oneof![
        4 => (sign(), command).prop_map(|(sign, name)| format!("{sign}{name}")),
        3 => (sign(), category).prop_map(|(sign, name)| format!("{sign}@{name}")),
        1 => "\\+ping\\|[a-z]{1,2}",
        1 => prop::sample::select(vec!["+@all", "-@all", "on", "off", "nopass", "resetpass", "reset", ">pw", "resetkeys",
            "resetchannels", "clearselectors", "sanitize-payload", "skip-sanitize-payload"]).prop_map(str::to_owned),
        1 => pattern.prop_map(|pattern| format!("&{pattern}")),
        1 => (prop::sample::select(vec!["~", "%R~", "%W~"]), pattern).prop_map(|(sign, pattern)| format!("{sign}{pattern}")),
    ]
}

proptest! {
    /// What is printed is read as the same user, whatever rules made them.
    #[test]
    fn a_printed_user_is_read_as_the_same(
        rules in prop::collection::vec(rule(), 0..12),
        inner in prop::collection::vec(rule(), 0..6),
    ) {
        let mut bob = User::new(PubsubDefault::ResetChannels);
        for rule in rules {
            // One that is refused changes nothing.
            let _ = bob.apply(rule.as_bytes(), Origin::Operator);
        }
        let _ = bob.apply(format!("({})", inner.join(" ")).as_bytes(), Origin::Operator);
        let text = printed(&bob);
        prop_assert_eq!(&user(&text), &bob, "{}", text);
    }

    #[test]
    fn no_rule_panics(rule in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut bob = User::new(PubsubDefault::ResetChannels);
        let _ = bob.apply(&rule, Origin::Operator);
        let _ = bob.apply(&[b"(", rule.as_slice(), b")"].concat(), Origin::File);
        let _ = Users::from_file(&[b"user x ", rule.as_slice()].concat(), "f", PubsubDefault::AllChannels);
    }
}
