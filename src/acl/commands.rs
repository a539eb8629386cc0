//! The commands that rules can name, with their categories, as stock 7.0.15 has them.
//!
//! Permissions are counted over exactly these, because the printed form of a user is made by counting and stock must
//! be able to read it. A command that stock does not have shares the permission of the one that it is most like.

/// Categories in the order in which stock lists them. Most have no command in a Sentinel.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

const SLOW: &[&str] = &["slow"];
const CONNECTION: &[&str] = &["slow", "connection"];
const FAST_CONNECTION: &[&str] = &["fast", "connection"];
const ADMIN: &[&str] = &["admin", "slow", "dangerous"];
const ADMIN_CONNECTION: &[&str] = &["admin", "slow", "dangerous", "connection"];
const PUBSUB: &[&str] = &["pubsub", "slow"];
const FAST_PUBSUB: &[&str] = &["pubsub", "fast"];
const FAST_ADMIN: &[&str] = &["admin", "fast", "dangerous"];
const SLOW_DANGEROUS: &[&str] = &["slow", "dangerous"];

/// Commands, each followed by its subcommands.
const COMMANDS: &[(&str, &[&str])] = &[
    ("acl", SLOW),
    ("acl|cat", SLOW),
    ("acl|deluser", ADMIN),
    ("acl|dryrun", ADMIN),
    ("acl|genpass", SLOW),
    ("acl|getuser", ADMIN),
    ("acl|help", SLOW),
    ("acl|list", ADMIN),
    ("acl|load", ADMIN),
    ("acl|log", ADMIN),
    ("acl|save", ADMIN),
    ("acl|setuser", ADMIN),
    ("acl|users", ADMIN),
    ("acl|whoami", SLOW),
    ("auth", FAST_CONNECTION),
    ("client", SLOW),
    ("client|caching", CONNECTION),
    ("client|getname", CONNECTION),
    ("client|getredir", CONNECTION),
    ("client|help", CONNECTION),
    ("client|id", CONNECTION),
    ("client|info", CONNECTION),
    ("client|kill", ADMIN_CONNECTION),
    ("client|list", ADMIN_CONNECTION),
    ("client|no-evict", ADMIN_CONNECTION),
    ("client|pause", ADMIN_CONNECTION),
    ("client|reply", CONNECTION),
    ("client|setname", CONNECTION),
    ("client|tracking", CONNECTION),
    ("client|trackinginfo", CONNECTION),
    ("client|unblock", ADMIN_CONNECTION),
    ("client|unpause", ADMIN_CONNECTION),
    ("command", CONNECTION),
    ("command|count", CONNECTION),
    ("command|docs", CONNECTION),
    ("command|getkeys", CONNECTION),
    ("command|getkeysandflags", CONNECTION),
    ("command|help", CONNECTION),
    ("command|info", CONNECTION),
    ("command|list", CONNECTION),
    ("hello", FAST_CONNECTION),
    ("info", SLOW_DANGEROUS),
    ("ping", FAST_CONNECTION),
    ("psubscribe", PUBSUB),
    ("publish", FAST_PUBSUB),
    ("punsubscribe", PUBSUB),
    ("role", FAST_ADMIN),
    ("sentinel", ADMIN),
    ("sentinel|ckquorum", ADMIN),
    ("sentinel|config", ADMIN),
    ("sentinel|debug", ADMIN),
    ("sentinel|failover", ADMIN),
    ("sentinel|flushconfig", ADMIN),
    ("sentinel|get-master-addr-by-name", ADMIN),
    ("sentinel|help", SLOW),
    ("sentinel|info-cache", ADMIN),
    ("sentinel|is-master-down-by-addr", ADMIN),
    ("sentinel|master", ADMIN),
    ("sentinel|masters", ADMIN),
    ("sentinel|monitor", ADMIN),
    ("sentinel|myid", ADMIN),
    ("sentinel|pending-scripts", ADMIN),
    ("sentinel|remove", ADMIN),
    ("sentinel|replicas", ADMIN),
    ("sentinel|reset", ADMIN),
    ("sentinel|sentinels", ADMIN),
    ("sentinel|set", ADMIN),
    ("sentinel|simulate-failure", ADMIN),
    ("sentinel|slaves", ADMIN),
    ("shutdown", ADMIN),
    ("subscribe", PUBSUB),
    ("unsubscribe", PUBSUB),
];

/// Commands that stock 7.0.15 does not have, and whose permission they share.
const SHARED: &[(&str, &str)] = &[
    ("client|setinfo", "client|setname"),
    ("sentinel|adopt", "sentinel|monitor"),
    ("sentinel|get-primary-addr-by-name", "sentinel|get-master-addr-by-name"),
    ("sentinel|is-primary-down-by-addr", "sentinel|is-master-down-by-addr"),
    ("sentinel|primaries", "sentinel|masters"),
    ("sentinel|primary", "sentinel|master"),
];

/// Commands of servers that no Sentinel has, as 7.0 and later versions have them. A file may name them in rules.
pub(super) const OF_SERVERS: &[&str] = &[
    "append",
    "asking",
    "bgrewriteaof",
    "bgsave",
    "bitcount",
    "bitfield",
    "bitfield_ro",
    "bitop",
    "bitpos",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "cluster",
    "config",
    "copy",
    "dbsize",
    "debug",
    "decr",
    "decrby",
    "del",
    "discard",
    "dump",
    "echo",
    "eval",
    "eval_ro",
    "evalsha",
    "evalsha_ro",
    "exec",
    "exists",
    "expire",
    "expireat",
    "expiretime",
    "failover",
    "fcall",
    "fcall_ro",
    "flushall",
    "flushdb",
    "function",
    "geoadd",
    "geodist",
    "geohash",
    "geopos",
    "georadius",
    "georadius_ro",
    "georadiusbymember",
    "georadiusbymember_ro",
    "geosearch",
    "geosearchstore",
    "get",
    "getbit",
    "getdel",
    "getex",
    "getrange",
    "getset",
    "hdel",
    "hexists",
    "hexpire",
    "hexpireat",
    "hexpiretime",
    "hget",
    "hgetall",
    "hgetdel",
    "hgetex",
    "hincrby",
    "hincrbyfloat",
    "hkeys",
    "hlen",
    "hmget",
    "hmset",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hpexpiretime",
    "hpttl",
    "hrandfield",
    "hscan",
    "hset",
    "hsetex",
    "hsetnx",
    "hstrlen",
    "httl",
    "hvals",
    "incr",
    "incrby",
    "incrbyfloat",
    "keys",
    "lastsave",
    "latency",
    "lcs",
    "lindex",
    "linsert",
    "llen",
    "lmove",
    "lmpop",
    "lolwut",
    "lpop",
    "lpos",
    "lpush",
    "lpushx",
    "lrange",
    "lrem",
    "lset",
    "ltrim",
    "memory",
    "mget",
    "migrate",
    "module",
    "monitor",
    "move",
    "mset",
    "msetnx",
    "multi",
    "object",
    "persist",
    "pexpire",
    "pexpireat",
    "pexpiretime",
    "pfadd",
    "pfcount",
    "pfdebug",
    "pfmerge",
    "pfselftest",
    "psetex",
    "psync",
    "pttl",
    "pubsub",
    "quit",
    "randomkey",
    "readonly",
    "readwrite",
    "rename",
    "renamenx",
    "replconf",
    "replicaof",
    "reset",
    "restore",
    "restore-asking",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sadd",
    "save",
    "scan",
    "scard",
    "script",
    "sdiff",
    "sdiffstore",
    "select",
    "set",
    "setbit",
    "setex",
    "setnx",
    "setrange",
    "sinter",
    "sintercard",
    "sinterstore",
    "sismember",
    "slaveof",
    "slowlog",
    "smembers",
    "smismember",
    "smove",
    "sort",
    "sort_ro",
    "spop",
    "spublish",
    "srandmember",
    "srem",
    "sscan",
    "ssubscribe",
    "strlen",
    "substr",
    "sunion",
    "sunionstore",
    "sunsubscribe",
    "swapdb",
    "sync",
    "time",
    "touch",
    "ttl",
    "type",
    "unlink",
    "unwatch",
    "vadd",
    "wait",
    "waitaof",
    "watch",
    "xack",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xgroup",
    "xinfo",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xreadgroup",
    "xrevrange",
    "xsetid",
    "xtrim",
    "zadd",
    "zcard",
    "zcount",
    "zdiff",
    "zdiffstore",
    "zincrby",
    "zinter",
    "zintercard",
    "zinterstore",
    "zlexcount",
    "zmpop",
    "zmscore",
    "zpopmax",
    "zpopmin",
    "zrandmember",
    "zrange",
    "zrangebylex",
    "zrangebyscore",
    "zrangestore",
    "zrank",
    "zrem",
    "zremrangebylex",
    "zremrangebyrank",
    "zremrangebyscore",
    "zrevrange",
    "zrevrangebylex",
    "zrevrangebyscore",
    "zrevrank",
    "zscan",
    "zscore",
    "zunion",
    "zunionstore",
    "client|no-touch",
];

/// One command or subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(u8);

/// One category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category(usize);

/// Any number of commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandSet(u128);

const _: () = assert!(COMMANDS.len() <= 128, "a set of commands has a bit for each");

/// All commands, each before its subcommands.
pub fn all() -> impl Iterator<Item = CommandId> {
    (0..COMMANDS.len() as u8).map(CommandId)
}

/// All categories, in stock's order.
pub fn categories() -> impl Iterator<Item = Category> {
    (0..CATEGORIES.len()).map(Category)
}

/// A command by its full name, `client|id`, in any case. One that stock does not have is the one that it is like.
pub fn find(name: &[u8]) -> Option<CommandId> {
    let shared = SHARED.iter().find(|(extra, _)| name.eq_ignore_ascii_case(extra.as_bytes()));
    let name = shared.map_or(name, |(_, like)| like.as_bytes());
    all().find(|id| name.eq_ignore_ascii_case(id.name().as_bytes()))
}

impl CommandId {
    /// Its full name, in lower case.
    pub fn name(self) -> &'static str {
        COMMANDS[usize::from(self.0)].0
    }

    /// Its categories, without `@`, in stock's order.
    pub fn categories(self) -> &'static [&'static str] {
        COMMANDS[usize::from(self.0)].1
    }

    /// The container, if it is a subcommand.
    pub fn parent(self) -> Option<CommandId> {
        let (container, _) = self.name().split_once('|')?;
        find(container.as_bytes())
    }

    /// Its subcommands.
    pub fn children(self) -> impl Iterator<Item = CommandId> {
        all().filter(move |id| id.parent() == Some(self))
    }

    /// Itself and its subcommands.
    pub fn family(self) -> CommandSet {
        self.children().chain([self]).fold(CommandSet::default(), CommandSet::with)
    }
}

impl Category {
    /// By its name, without `@`, in any case.
    pub fn find(name: &[u8]) -> Option<Category> {
        categories().find(|category| name.eq_ignore_ascii_case(category.name().as_bytes()))
    }

    /// Without `@`.
    pub fn name(self) -> &'static str {
        CATEGORIES[self.0]
    }

    /// The commands that are in it.
    pub fn members(self) -> CommandSet {
        all().filter(|id| id.categories().contains(&self.name())).fold(CommandSet::default(), CommandSet::with)
    }

    /// What a rule about it changes: its commands, and all subcommands of those.
    pub fn reach(self) -> CommandSet {
        let members = all().filter(|id| self.members().has(*id));
        members.fold(CommandSet::default(), |set, id| set.union(id.family()))
    }
}

impl CommandSet {
    /// Every command.
    pub const ALL: CommandSet = CommandSet(u128::MAX >> (128 - COMMANDS.len()));

    /// Whether a command is in it.
    pub fn has(self, id: CommandId) -> bool {
        self.0 >> id.0 & 1 == 1
    }

    /// This and one more.
    #[must_use]
    pub fn with(self, id: CommandId) -> CommandSet {
        CommandSet(self.0 | 1 << id.0)
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: CommandSet) -> CommandSet {
        CommandSet(self.0 | other.0)
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn without(self, other: CommandSet) -> CommandSet {
        CommandSet(self.0 & !other.0)
    }

    /// What is in one of them only.
    #[must_use]
    pub fn difference(self, other: CommandSet) -> CommandSet {
        CommandSet(self.0 ^ other.0)
    }

    /// This with the other's commands put in, or taken out.
    #[must_use]
    pub fn set(self, other: CommandSet, permitted: bool) -> CommandSet {
        if permitted { self.union(other) } else { self.without(other) }
    }

    /// How many are in both.
    pub fn common(self, other: CommandSet) -> u32 {
        (self.0 & other.0).count_ones()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// commands.md 210
    #[test]
    fn categories_have_as_many_commands_as_in_stock() {
        let count = |name: &str| Category::find(name.as_bytes()).map(|category| category.members().0.count_ones());
        let counts = ["admin", "dangerous", "connection", "pubsub", "fast", "slow", "string", "SCRIPTING"].map(count);
        assert_eq!(counts, [38, 39, 27, 5, 5, 67, 0, 0].map(Some));
        assert_eq!(count("sentinel"), None);
        assert_eq!((CATEGORIES.len(), COMMANDS.len()), (21, 72));
    }

    #[test]
    fn names_are_found_in_any_case_and_containers_know_their_own() {
        let name = |text: &str| find(text.as_bytes()).map(CommandId::name);
        assert_eq!(name("SENTINEL|Masters"), Some("sentinel|masters"));
        assert_eq!(name("sentinel|primaries"), Some("sentinel|masters"));
        assert_eq!((name("masters"), name("sentinel|"), name("ping|x"), name("get")), (None, None, None, None));
        let acl = find(b"acl").expect("there");
        assert_eq!(acl.children().count(), 13);
        assert_eq!(acl.family().0.count_ones(), 14);
        assert!(SHARED.iter().all(|(_, like)| name(like) == Some(like)));
    }
}
