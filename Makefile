# `make demo` and `make test` do all their own set-up on a fresh Debian or Ubuntu with Rust.
.DEFAULT_GOAL := help
SHELL := /bin/bash
export CARAFE_DEMO_CACHE ?= $(CURDIR)/.cache/demo

.PHONY: help demo goldens repro test test-user lint packages bases clean

help:
	@echo 'make demo   build a runnable image, push it, pull it, run it, fetch a page from it'
	@echo 'make test   every test, as root (where we are root) and as an ordinary user'
	@echo 'make repro  build one lock under twenty variations, and compare the digests'
	@echo 'make lint   fmt, clippy, cargo-deny, and no C compiler in the tree'
	@echo 'make goldens  write the digests that must not move anew: only with an entry under Image bytes'
	@echo 'make clean  remove what the above left in this folder'

packages:
	scripts/setup-packages

bases: packages
	scripts/demo-bases

demo: bases
	cargo build --quiet
	scripts/demo

test: bases
	cargo test --workspace
	scripts/test-as-user

# REPRO='--rounds 2', or REPRO=folder-of-a-spec-its-lock-and-its-record.
repro: bases
	cargo build --quiet
	scripts/repro $(REPRO)

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	scripts/check-dependencies

# Only for a new format-version, with an entry under 'Image bytes' in the changelog.
goldens:
	CARAFE_REGENERATE_GOLDENS=1 cargo test --package carafe-layers --test pack golden

clean:
	rm -rf target .cache
