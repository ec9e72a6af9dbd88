# On Debian or Ubuntu with Rust, `make demo`, `make test` and `make repro` also do their set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export CARAFE_DEMO_CACHE ?= $(CURDIR)/.cache/demo

.PHONY: help quick test repro demo lint goldens packages bases clean test-here repro-here

help:
	@echo 'make quick    tests that need only the Rust toolchain: no root, no network, no packages (2 minutes)'
	@echo 'make test     all tests, as root (if you are root) and as an ordinary user (15 minutes)'
	@echo 'make repro    build one lock under twenty conditions, and compare the digests (8 minutes)'
	@echo 'make demo     build a runnable image, push it, pull it, run it, fetch a page from it'
	@echo 'make lint     rustfmt, clippy, dependencies, minimum Rust version, sizes, banned words'
	@echo 'make goldens  regenerate the golden digests of the image bytes: see CONTRIBUTING.md'
	@echo 'make clean    remove everything that these targets created in this directory'

# Fast tests for every change. Prints at its end what it leaves out.
quick:
	scripts/test-quick

test: packages
	scripts/readable-checkout $(MAKE) --no-print-directory test-here

test-here: bases
	cargo test --workspace
	scripts/test-as-user

# REPRO='--rounds 2', or REPRO=DIRECTORY with a spec, its lock and its recording.
repro: packages
	scripts/readable-checkout $(MAKE) --no-print-directory repro-here

# The same targets as `make test`: with others, cargo would build the dependencies with other features.
repro-here: bases
	cargo build --workspace --all-targets
	scripts/repro $(REPRO)

demo: bases
	cargo build
	scripts/demo

lint:
	cargo fmt --all --check
	scripts/check-words --self-test
	scripts/check-words
	scripts/check-sizes --self-test
	scripts/check-sizes
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check-msrv
	scripts/check-dependencies

# Only for a new format version, with an entry under 'Image bytes' in the changelog.
goldens:
	CARAFE_REGENERATE_GOLDENS=1 cargo test --package carafe-layers --test pack golden

# Debian packages, from this machine's apt sources.
packages:
	scripts/setup-packages

# The demo's build image and base image.
bases: packages
	scripts/demo-bases

clean:
	rm -rf target .cache
	scripts/readable-checkout --remove
