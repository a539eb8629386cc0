#!/bin/sh
# Finds ip, tc and nft, with which the fault tests build networks of their own, and strace. Where they are missing, and
# this is root on a machine with apt, it installs Debian's packages. Without the first three the tests stop processes
# instead of cutting links, and say so; that is no error here.
set -eu

has_all() {
    command -v ip && command -v tc && command -v nft && command -v strace
}

has_all >/dev/null && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing iproute2 nftables strace" >&2
    DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends iproute2 nftables strace >/dev/null
fi
has_all >/dev/null || echo "not found: ip, tc, nft or strace (packages iproute2, nftables, strace); partition tests use SIGSTOP" >&2
