#!/bin/sh
# Puts the client libraries that tests/clients runs into the folder given (target/clients), each in the one version
# that is named here: redis-py in an environment of its own, ioredis and node-redis beside each other. Python is
# needed: where its venv is missing, and this is root on a machine with apt, it installs Debian's package. Without node
# the two libraries for it are left out, and so are their tests; without apt, redis_exporter is, which is unpacked from
# Debian's package and not installed. What is there already is not touched.
set -eu
dir=${1:-target/clients}
python='redis==8.1.0'
node='ioredis@6.0.0 @redis/client@6.3.1'

# Whether what the file $1 names as installed is what is wanted.
has() {
    [ "$(cat "$1" 2>/dev/null)" = "$2" ]
}

mkdir -p "$dir"
if ! has "$dir/python.installed" "$python"; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "installing python3-venv" >&2
            DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
        else
            echo "not found: install python3-venv (Debian, Ubuntu: sudo apt-get install python3-venv)" >&2
            exit 1
        fi
    fi
    python3 -m venv --clear "$dir/python"
    "$dir/python/bin/pip" install --quiet --disable-pip-version-check "$python"
    echo "$python" >"$dir/python.installed"
fi

if ! command -v node >/dev/null; then
    echo "not found: node (package nodejs); the tests of ioredis and node-redis are left out" >&2
elif ! has "$dir/node.installed" "$node"; then
    command -v npm >/dev/null || { echo "not found: install npm, for ioredis and node-redis" >&2; exit 1; }
    # shellcheck disable=SC2086 -- two words for two packages
    npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix "$dir" $node >&2
    echo "$node" >"$dir/node.installed"
fi

if command -v apt-get >/dev/null && [ ! -x "$dir/redis_exporter" ]; then
    work=$(mktemp -d)
    (cd "$work" && { apt-get download -qq prometheus-redis-exporter || { apt-get update -qq &&
        apt-get download -qq prometheus-redis-exporter; }; } && dpkg -x ./*.deb .) >/dev/null 2>&1 ||
        { echo "prometheus-redis-exporter could not be fetched" >&2; exit 1; }
    mv "$work/usr/bin/prometheus-redis-exporter" "$dir/redis_exporter"
    rm -r "$work"
fi
