#!/bin/sh
# Finds the programs of the installed Redis, and links them as redis-server, redis-sentinel, redis-cli and
# redis-benchmark into the folder given (target/stock). Server and Sentinel are one program that looks at its own name.
# Where nothing is installed, and this is root on a machine with apt, it installs Debian's redis-tools: that package has
# the program, as redis-check-rdb, but starts no service.
set -eu
dir=${1:-target/stock}

find_server() {
    command -v redis-server || command -v redis-sentinel || command -v redis-check-rdb
}

install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $*" >&2
        DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
    else
        echo "not found: install $* (Debian, Ubuntu: sudo apt-get install --no-install-recommends $*)" >&2
        exit 1
    fi
}

command -v cc >/dev/null || install gcc libc6-dev
{ find_server && command -v redis-cli && command -v redis-benchmark; } >/dev/null || install redis-tools

mkdir -p "$dir"
server=$(readlink -f "$(find_server)")
ln -sfn "$server" "$dir/redis-server"
ln -sfn "$server" "$dir/redis-sentinel"
ln -sfn "$(readlink -f "$(command -v redis-cli)")" "$dir/redis-cli"
ln -sfn "$(readlink -f "$(command -v redis-benchmark)")" "$dir/redis-benchmark"
"$dir/redis-server" --version | grep -q 'Redis server' ||
    { echo "$server is not a redis-server: install redis-tools" >&2; exit 1; }
