# sentineld. Needs cargo, a C linker and OpenSSL's headers, which tests/openssl.sh finds; the demo and the tests also need
# the programs of Redis, which tests/stock.sh finds.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
# For the demo: `make demo ARGS=--stock` runs it with redis-sentinel.
ARGS ?=
# For `make bench` and `make bench-quick`: what to measure, if not everything.
PARTS ?=
# For `make sim`, and for the simulation in `make test`.
SEEDS ?= 2000
FIRST ?= 1

TARGET := $(abspath $(CARGO_TARGET_DIR))
PROGRAM := $(TARGET)/release/sentineld
STOCK := $(TARGET)/stock
VERSIONS := $(TARGET)/versions
CLIENTS := $(TARGET)/clients

export CARGO_TARGET_DIR := $(TARGET)
export STOCK_BIN_DIR := $(STOCK)
export VERSIONS_DIR := $(VERSIONS)
export CLIENTS_DIR := $(CLIENTS)

.PHONY: all program demo test sim faults beyond e2e-beyond mixed as-stock conformance coverage-of-spec install lint clean openssl stock network versions clients bench bench-quick

all: program

program: openssl
	$(CARGO) build --release --locked --bin sentineld

demo: stock program
	$(CARGO) build --locked --quiet --profile test --example demo
	SENTINELD_BIN=$(PROGRAM) $(TARGET)/debug/examples/demo $(ARGS)

# The demo runs once more at the end, with the program as it would be installed: it ends with 0 or make fails.
test: openssl stock network versions clients
	SIM_SEEDS=$(SEEDS) SIM_SECONDS=120 $(CARGO) test --locked
	$(MAKE) demo

# Simulated worlds, SEEDS of them from FIRST on; each failure prints how to replay it.
sim: openssl
	SIM_SEEDS=$(SEEDS) SIM_FIRST=$(FIRST) SIM_SECONDS=120 $(CARGO) test --locked --test sim seeds_hold_every_invariant -- --nocapture

# 200 kills instead of 20.
faults: openssl stock network
	FAULTS_KILLS=200 $(CARGO) test --locked --test faults -- --nocapture

# What stock does not do (tests/spec/beyond.md), often and for long: 200 kills for each kind of line and number of
# Sentinels, every time that Sentinels may be away, stock beside it.
beyond: openssl stock network
	BEYOND_KILLS=200 $(CARGO) test --locked --test faults elections -- --nocapture --test-threads 3
	BEYOND_RUNS=5 $(CARGO) test --locked --test beyond -- --nocapture

# The same once and quickly, as one table: case, stock, ours. `RUNS=5 make e2e-beyond` for every case five times, in full.
BEYOND_TABLE = $(TARGET)/beyond.tsv
e2e-beyond: openssl stock
	rm -f $(BEYOND_TABLE)
	BEYOND_TABLE=$(BEYOND_TABLE) $(if $(RUNS),BEYOND_RUNS=$(RUNS)) $(CARGO) test --locked --test beyond
	awk -f tests/beyond/table.awk $(BEYOND_TABLE)

# Every mix of three Sentinels of both kinds, 20 times.
mixed: openssl stock
	MIXED_RUNS=20 $(CARGO) test --locked --test e2e mixed -- --nocapture

# The conformance suite and the mixed quorums with every switch of ours at its stock value.
as-stock: export SENTINELD := $(TARGET)/debug/sentineld
as-stock: export SENTINELD_BIN := $(CURDIR)/tests/support/stock-switches.sh
as-stock: openssl stock
	$(CARGO) build --locked --bin sentineld
	SWITCHES=stock $(CARGO) test --locked --test conformance -- --nocapture stock_and_sentineld
	MIXED_RUNS=2 $(CARGO) test --locked --test e2e mixed -- --nocapture

# What clients see, case by case, of stock and of sentineld. `BIN=/path make conformance` asks a program of your choice
# alone, `CASE=words` plays some cases only.
conformance: openssl stock
	$(CARGO) test --locked --test conformance -- --nocapture

# Numbers beside stock's, in turns: reads and what they cost, whether many of them delay a detection, how long failovers
# take, thousands of subscribers and of masters. `bench-quick` takes a quarter of an hour, `bench` an hour and a half;
# `make bench PARTS="latency fanout"` measures some of it. Plots: bench-*.svg in the target directory.
BENCH = SENTINELD_BIN=$(PROGRAM) $(CARGO) run --release --locked --quiet --manifest-path tests/bench/Cargo.toml --

bench: stock program
	$(BENCH) $(PARTS)

bench-quick: stock program
	$(BENCH) --quick $(PARTS)

# Line by line, which entries of the checklists in tests/spec have a test that quotes them.
coverage-of-spec: openssl
	$(CARGO) test --locked --quiet --test coverage -- --nocapture every_line

lint: openssl
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/bench/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features -- -D warnings
	$(CARGO) test --locked --quiet --test tidy

install: program
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/sentineld
	install -D -m 644 sentinel.conf.example $(DESTDIR)$(PREFIX)/share/doc/sentineld/sentinel.conf.example

clean:
	$(CARGO) clean

openssl:
	@sh tests/openssl.sh

stock:
	@sh tests/stock.sh $(STOCK)

network:
	@sh tests/network.sh

versions:
	@sh tests/versions.sh $(VERSIONS)

clients:
	@sh tests/clients.sh $(CLIENTS)
