//! Every plain directive that is accepted in the file, and what its value has to look like (config.md 4.1, 4.2).
//!
//! Sorted by name. Ranges, words and spellings are those that stock 7.0.15 reports in its own messages.

/// What the value of a directive has to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`
    Bool,
    /// A whole number, bounds included.
    Int(i64, i64),
    /// A number in base 8, up to 777.
    Octal,
    /// A number of bytes with unit, at least this many.
    Memory(u64),
    /// A number of bytes, or a percentage up to 100.
    MemoryOrPercent,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// Any text.
    Text(Empty),
    /// Text without slashes.
    FileName(Empty),
    /// Letters, digits, hyphens and dots.
    HostName,
    /// A directory that exists.
    Dir,
    /// Up to 16 addresses.
    Bind,
    /// Pairs of seconds and changes.
    Save,
    /// Groups of class, hard limit, soft limit and seconds.
    BufferLimits,
    /// Three numbers between -2000 and 2000.
    OomValues,
    /// Host and port, or `no one`.
    ReplicaOf,
    /// Numbers between 0 and 100.
    Percentiles,
    /// Words of `SHUTDOWN`.
    ShutdownFlags,
    /// Letters that stand for classes of events.
    KeyspaceEvents,
    /// Text with variables in braces.
    TitleTemplate,
    /// A directive that is newer than 7.0.15, or Valkey's: kept, and not looked at.
    Newer,
}

/// What an empty text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// A value like any other.
    Kept,
    /// The directive is not set, and its line disappears at the next save.
    Unset,
    /// A mistake.
    Refused,
}

const I32: i64 = i32::MAX as i64;
const U32: i64 = u32::MAX as i64;

/// Current names, sorted.
pub const DIRECTIVES: &[(&str, Kind)] = &[
    ("acl-pubsub-default", Kind::Word(&["allchannels", "resetchannels"])),
    ("aclfile", Kind::Text(Empty::Kept)),
    ("acllog-max-len", Kind::Int(0, i64::MAX)),
    ("active-defrag-cycle-max", Kind::Int(1, 99)),
    ("active-defrag-cycle-min", Kind::Int(1, 99)),
    ("active-defrag-ignore-bytes", Kind::Memory(1)),
    ("active-defrag-max-scan-fields", Kind::Int(1, i64::MAX)),
    ("active-defrag-threshold-lower", Kind::Int(0, 1000)),
    ("active-defrag-threshold-upper", Kind::Int(0, 1000)),
    ("active-expire-effort", Kind::Int(1, 10)),
    ("activedefrag", Kind::Bool),
    ("activerehashing", Kind::Bool),
    ("always-show-logo", Kind::Bool),
    ("aof-disable-auto-gc", Kind::Bool),
    ("aof-load-truncated", Kind::Bool),
    ("aof-rewrite-cpulist", Kind::Newer),
    ("aof-rewrite-incremental-fsync", Kind::Bool),
    ("aof-timestamp-enabled", Kind::Bool),
    ("aof-use-rdb-preamble", Kind::Bool),
    ("aof_rewrite_cpulist", Kind::Text(Empty::Unset)),
    ("appenddirname", Kind::FileName(Empty::Refused)),
    ("appendfilename", Kind::FileName(Empty::Refused)),
    ("appendfsync", Kind::Word(&["everysec", "always", "no"])),
    ("appendonly", Kind::Bool),
    ("auto-aof-rewrite-min-size", Kind::Memory(0)),
    ("auto-aof-rewrite-percentage", Kind::Int(0, I32)),
    ("availability-zone", Kind::Newer),
    ("bgsave-cpulist", Kind::Newer),
    ("bgsave_cpulist", Kind::Text(Empty::Unset)),
    ("bind", Kind::Bind),
    ("bind-source-addr", Kind::Text(Empty::Unset)),
    ("bio-cpulist", Kind::Newer),
    ("bio_cpulist", Kind::Text(Empty::Unset)),
    ("busy-reply-threshold", Kind::Int(0, i64::MAX)),
    ("client-default-resp", Kind::Newer),
    ("client-output-buffer-limit", Kind::BufferLimits),
    ("client-query-buffer-limit", Kind::Memory(1 << 20)),
    ("cluster-allow-pubsubshard-when-down", Kind::Bool),
    ("cluster-allow-reads-when-down", Kind::Bool),
    ("cluster-allow-replica-migration", Kind::Bool),
    ("cluster-announce-bus-port", Kind::Int(0, 65_535)),
    ("cluster-announce-client-ipv4", Kind::Newer),
    ("cluster-announce-client-ipv6", Kind::Newer),
    ("cluster-announce-hostname", Kind::HostName),
    ("cluster-announce-human-nodename", Kind::Newer),
    ("cluster-announce-ip", Kind::Text(Empty::Unset)),
    ("cluster-announce-port", Kind::Int(0, 65_535)),
    ("cluster-announce-tls-port", Kind::Int(0, 65_535)),
    ("cluster-blacklist-ttl", Kind::Newer),
    ("cluster-config-file", Kind::Text(Empty::Kept)),
    ("cluster-enabled", Kind::Bool),
    ("cluster-link-sendbuf-limit", Kind::Memory(0)),
    ("cluster-migration-barrier", Kind::Int(0, I32)),
    ("cluster-node-timeout", Kind::Int(0, i64::MAX)),
    ("cluster-ping-interval", Kind::Newer),
    ("cluster-port", Kind::Int(0, 65_535)),
    ("cluster-preferred-endpoint-type", Kind::Word(&["ip", "hostname", "unknown-endpoint"])),
    ("cluster-replica-no-failover", Kind::Bool),
    ("cluster-replica-validity-factor", Kind::Int(0, I32)),
    ("cluster-require-full-coverage", Kind::Bool),
    ("cluster-slot-stats-enabled", Kind::Newer),
    ("crash-log-enabled", Kind::Bool),
    ("crash-memcheck-enabled", Kind::Bool),
    ("daemonize", Kind::Bool),
    ("databases", Kind::Int(1, I32)),
    ("dbfilename", Kind::FileName(Empty::Kept)),
    ("dir", Kind::Dir),
    ("disable-thp", Kind::Bool),
    ("dual-channel-replication-enabled", Kind::Newer),
    ("dynamic-hz", Kind::Bool),
    ("enable-debug-command", Kind::Word(&["no", "yes", "local"])),
    ("enable-module-command", Kind::Word(&["no", "yes", "local"])),
    ("enable-protected-configs", Kind::Word(&["no", "yes", "local"])),
    ("events-per-io-thread", Kind::Newer),
    ("extended-redis-compatibility", Kind::Newer),
    ("hash-max-listpack-entries", Kind::Int(0, i64::MAX)),
    ("hash-max-listpack-value", Kind::Memory(0)),
    ("hide-user-data-from-log", Kind::Newer),
    ("hll-sparse-max-bytes", Kind::Memory(0)),
    ("hz", Kind::Int(0, I32)),
    ("ignore-warnings", Kind::Text(Empty::Kept)),
    ("io-threads", Kind::Int(1, 128)),
    ("io-threads-do-reads", Kind::Bool),
    ("jemalloc-bg-thread", Kind::Bool),
    ("key-load-delay", Kind::Int(i32::MIN as i64, I32)),
    ("latency-monitor-threshold", Kind::Int(0, i64::MAX)),
    ("latency-tracking", Kind::Bool),
    ("latency-tracking-info-percentiles", Kind::Percentiles),
    ("lazyfree-lazy-eviction", Kind::Bool),
    ("lazyfree-lazy-expire", Kind::Bool),
    ("lazyfree-lazy-server-del", Kind::Bool),
    ("lazyfree-lazy-user-del", Kind::Bool),
    ("lazyfree-lazy-user-flush", Kind::Bool),
    ("lfu-decay-time", Kind::Int(0, I32)),
    ("lfu-log-factor", Kind::Int(0, I32)),
    ("list-compress-depth", Kind::Int(0, I32)),
    ("list-max-listpack-size", Kind::Int(i32::MIN as i64, I32)),
    ("loading-process-events-interval-bytes", Kind::Int(1024, I32)),
    ("locale-collate", Kind::Newer),
    ("log-format", Kind::Word(&["legacy", "logfmt"])),
    ("log-timestamp-format", Kind::Word(&["legacy", "iso8601", "milliseconds"])),
    ("logfile", Kind::Text(Empty::Kept)),
    ("loglevel", Kind::Word(&["debug", "verbose", "notice", "warning", "nothing"])),
    ("masterauth", Kind::Text(Empty::Unset)),
    ("masteruser", Kind::Text(Empty::Unset)),
    ("max-new-connections-per-cycle", Kind::Newer),
    ("max-new-tls-connections-per-cycle", Kind::Newer),
    ("maxclients", Kind::Int(1, U32)),
    ("maxmemory", Kind::Memory(0)),
    ("maxmemory-clients", Kind::MemoryOrPercent),
    ("maxmemory-eviction-tenacity", Kind::Int(0, 100)),
    (
        "maxmemory-policy",
        Kind::Word(&[
            "volatile-lru",
            "volatile-lfu",
            "volatile-random",
            "volatile-ttl",
            "allkeys-lru",
            "allkeys-lfu",
            "allkeys-random",
            "noeviction",
        ]),
    ),
    ("maxmemory-samples", Kind::Int(1, I32)),
    ("min-replicas-max-lag", Kind::Int(0, I32)),
    ("min-replicas-to-write", Kind::Int(0, I32)),
    ("no-appendfsync-on-rewrite", Kind::Bool),
    ("notify-keyspace-events", Kind::KeyspaceEvents),
    ("oom-score-adj", Kind::Word(&["no", "yes", "relative", "absolute"])),
    ("oom-score-adj-values", Kind::OomValues),
    ("pidfile", Kind::Text(Empty::Unset)),
    ("port", Kind::Int(0, 65_535)),
    ("prefetch-batch-max-size", Kind::Newer),
    ("primaryauth", Kind::Newer),
    ("primaryuser", Kind::Newer),
    ("proc-title-template", Kind::TitleTemplate),
    ("propagation-error-behavior", Kind::Word(&["ignore", "panic", "panic-on-replicas"])),
    ("protected-mode", Kind::Bool),
    ("proto-max-bulk-len", Kind::Memory(1 << 20)),
    ("rdb-del-sync-files", Kind::Bool),
    ("rdb-key-save-delay", Kind::Int(i32::MIN as i64, I32)),
    ("rdb-save-incremental-fsync", Kind::Bool),
    ("rdbchecksum", Kind::Bool),
    ("rdbcompression", Kind::Bool),
    ("repl-backlog-size", Kind::Memory(1)),
    ("repl-backlog-ttl", Kind::Int(0, i64::MAX)),
    ("repl-disable-tcp-nodelay", Kind::Bool),
    ("repl-diskless-load", Kind::Word(&["disabled", "on-empty-db", "swapdb"])),
    ("repl-diskless-sync", Kind::Bool),
    ("repl-diskless-sync-delay", Kind::Int(0, I32)),
    ("repl-diskless-sync-max-replicas", Kind::Int(0, I32)),
    ("repl-ping-replica-period", Kind::Int(1, I32)),
    ("repl-timeout", Kind::Int(1, I32)),
    ("replica-announce-ip", Kind::Text(Empty::Unset)),
    ("replica-announce-port", Kind::Int(0, 65_535)),
    ("replica-announced", Kind::Bool),
    ("replica-ignore-disk-write-errors", Kind::Bool),
    ("replica-ignore-maxmemory", Kind::Bool),
    ("replica-lazy-flush", Kind::Bool),
    ("replica-priority", Kind::Int(0, I32)),
    ("replica-read-only", Kind::Bool),
    ("replica-serve-stale-data", Kind::Bool),
    ("replicaof", Kind::ReplicaOf),
    ("req-res-logfile", Kind::Newer),
    ("requirepass", Kind::Text(Empty::Unset)),
    ("sanitize-dump-payload", Kind::Word(&["no", "yes", "clients"])),
    ("save", Kind::Save),
    ("server-cpulist", Kind::Newer),
    ("server_cpulist", Kind::Text(Empty::Unset)),
    ("set-max-intset-entries", Kind::Int(0, i64::MAX)),
    ("set-max-listpack-entries", Kind::Newer),
    ("set-max-listpack-value", Kind::Newer),
    ("set-proc-title", Kind::Bool),
    ("shutdown-on-sigint", Kind::ShutdownFlags),
    ("shutdown-on-sigterm", Kind::ShutdownFlags),
    ("shutdown-timeout", Kind::Int(0, I32)),
    ("slowlog-log-slower-than", Kind::Int(-1, i64::MAX)),
    ("slowlog-max-len", Kind::Int(0, i64::MAX)),
    ("socket-mark-id", Kind::Int(0, U32)),
    ("stop-writes-on-bgsave-error", Kind::Bool),
    ("stream-node-max-bytes", Kind::Memory(0)),
    ("stream-node-max-entries", Kind::Int(0, i64::MAX)),
    ("supervised", Kind::Word(&["upstart", "systemd", "auto", "no"])),
    ("syslog-enabled", Kind::Bool),
    (
        "syslog-facility",
        Kind::Word(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]),
    ),
    ("syslog-ident", Kind::Text(Empty::Kept)),
    ("tcp-backlog", Kind::Int(0, I32)),
    ("tcp-keepalive", Kind::Int(0, I32)),
    ("timeout", Kind::Int(0, I32)),
    ("tls-auth-clients", Kind::Word(&["no", "yes", "optional"])),
    ("tls-ca-cert-dir", Kind::Text(Empty::Unset)),
    ("tls-ca-cert-file", Kind::Text(Empty::Unset)),
    ("tls-cert-file", Kind::Text(Empty::Unset)),
    ("tls-ciphers", Kind::Text(Empty::Unset)),
    ("tls-ciphersuites", Kind::Text(Empty::Unset)),
    ("tls-client-cert-file", Kind::Text(Empty::Unset)),
    ("tls-client-key-file", Kind::Text(Empty::Unset)),
    ("tls-client-key-file-pass", Kind::Text(Empty::Unset)),
    ("tls-cluster", Kind::Bool),
    ("tls-dh-params-file", Kind::Text(Empty::Unset)),
    ("tls-key-file", Kind::Text(Empty::Unset)),
    ("tls-key-file-pass", Kind::Text(Empty::Unset)),
    ("tls-port", Kind::Int(0, 65_535)),
    ("tls-prefer-server-ciphers", Kind::Bool),
    ("tls-protocols", Kind::Text(Empty::Unset)),
    ("tls-replication", Kind::Bool),
    ("tls-session-cache-size", Kind::Int(0, I32)),
    ("tls-session-cache-timeout", Kind::Int(0, I32)),
    ("tls-session-caching", Kind::Bool),
    ("tracking-table-max-keys", Kind::Int(0, i64::MAX)),
    ("unixsocket", Kind::Text(Empty::Unset)),
    ("unixsocketgroup", Kind::Newer),
    ("unixsocketperm", Kind::Octal),
    ("use-exit-on-panic", Kind::Bool),
    ("watchdog-period", Kind::Int(0, I32)),
    ("zset-max-listpack-entries", Kind::Int(0, i64::MAX)),
    ("zset-max-listpack-value", Kind::Memory(0)),
];

/// Old names and the current names under which they are saved, sorted.
pub const ALIASES: &[(&str, &str)] = &[
    ("cluster-slave-no-failover", "cluster-replica-no-failover"),
    ("cluster-slave-validity-factor", "cluster-replica-validity-factor"),
    ("hash-max-ziplist-entries", "hash-max-listpack-entries"),
    ("hash-max-ziplist-value", "hash-max-listpack-value"),
    ("list-max-ziplist-size", "list-max-listpack-size"),
    ("lua-time-limit", "busy-reply-threshold"),
    ("min-slaves-max-lag", "min-replicas-max-lag"),
    ("min-slaves-to-write", "min-replicas-to-write"),
    ("repl-ping-slave-period", "repl-ping-replica-period"),
    ("slave-announce-ip", "replica-announce-ip"),
    ("slave-announce-port", "replica-announce-port"),
    ("slave-ignore-maxmemory", "replica-ignore-maxmemory"),
    ("slave-lazy-flush", "replica-lazy-flush"),
    ("slave-priority", "replica-priority"),
    ("slave-read-only", "replica-read-only"),
    ("slave-serve-stale-data", "replica-serve-stale-data"),
    ("slaveof", "replicaof"),
    ("zset-max-ziplist-entries", "zset-max-listpack-entries"),
    ("zset-max-ziplist-value", "zset-max-listpack-value"),
];

/// Accepted with exactly one value, and dropped.
pub const DROPPED: &[&str] = &["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// The current name and the kind of a lower-case directive name.
pub fn find(name: &[u8]) -> Option<(&'static str, Kind)> {
    let name = std::str::from_utf8(name).ok()?;
    let current = ALIASES.binary_search_by_key(&name, |row| row.0).map_or(name, |at| ALIASES[at].1);
    DIRECTIVES.binary_search_by_key(&current, |row| row.0).ok().map(|at| DIRECTIVES[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_aliases_lead_somewhere() {
        assert!(DIRECTIVES.is_sorted_by(|a, b| a.0 < b.0));
        assert!(ALIASES.is_sorted_by(|a, b| a.0 < b.0));
        for (old, current) in ALIASES {
            assert_eq!(find(old.as_bytes()).map(|found| found.0), Some(*current));
            assert_eq!(find(current.as_bytes()).map(|found| found.0), Some(*current));
        }
    }
}
