#!/bin/sh
# `sentineld` ($SENTINELD) with every switch at its stock value, for tests that start it as `SENTINELD_BIN`.
exec "$SENTINELD" "$@" --settings "$(dirname "$0")/stock-switches.toml"
