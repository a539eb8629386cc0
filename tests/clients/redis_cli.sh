#!/bin/sh
# redis-cli through a failover, as scripts use it. Arguments: the program, the protocol's option (-2 or -3), then the
# ports of the Sentinels. See main.rs.
set -eu
cli=$1 protocol=$2
shift 2
key="redis-cli $protocol"

# The port that the first Sentinel which answers names.
master() {
    for port in "$@"; do
        "$cli" "$protocol" -p "$port" SENTINEL GET-MASTER-ADDR-BY-NAME mymaster | sed -n 2p | grep . && return
    done
}

# Writes as soon as the master that is named takes it.
write() {
    value=$1
    shift
    for _ in $(seq 500); do
        [ "$("$cli" "$protocol" -p "$(master "$@")" SET "$key" "$value" 2>/dev/null)" = OK ] && return
        sleep 0.02
    done
    return 1
}

for port in "$@"; do
    [ -z "$("$cli" "$protocol" -p "$port" SENTINEL GET-MASTER-ADDR-BY-NAME nobody)" ] || exit 1
done
echo unknown
write before "$@"

# It is closed by the Sentinel, when the test is over. One word a line: the kind, the channel, the count or the message;
# only a message has spaces.
"$cli" "$protocol" -p "$1" SUBSCRIBE +switch-master 2>/dev/null |
    while read -r line; do
        case $line in
            1) echo ready ;;
            *\ *) echo "switch $channel $line"; write after "$@"; echo done; break ;;
            *) channel=$line ;;
        esac
    done
