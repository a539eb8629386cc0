#!/bin/sh
# Finds the headers of OpenSSL and pkg-config, with which TLS is built. Where they are missing, and this is root on a
# machine with apt, it installs Debian's packages. `cargo build --no-default-features` needs neither.
set -eu

has_all() {
    command -v pkg-config >/dev/null && pkg-config --exists openssl
}

has_all && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing libssl-dev pkg-config" >&2
    DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends libssl-dev pkg-config >/dev/null
fi
has_all || { echo "not found: OpenSSL's headers or pkg-config (packages libssl-dev, pkg-config)" >&2; exit 1; }
