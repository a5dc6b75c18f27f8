# make demo   builds Servo and a small service, and tunes the one with the other
# make test   builds everything and runs all tests

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RUN        := deploy/quickstart/run
PREFIX     ?= /usr/local
SHARE       = $(DESTDIR)$(PREFIX)/share

.DEFAULT_GOAL := help
.PHONY: help build demo test lint bench install

help:
	@sed -n 's/^# make/make/p' Makefile

# make build  builds the release binary
build:
	cargo build --locked --release --bin servo

demo: build
	cargo build --locked --release --package quickstart-service
	install -D $(TARGET_DIR)/release/servo $(RUN)/servo
	install -D $(TARGET_DIR)/release/quickstart-service $(RUN)/quickstart-service
	deploy/quickstart/demo

test:
	tests/setup
	cargo test --locked --workspace --no-fail-fast
	tests/with-servers

# make lint   formatting, lints and documentation, as continuous integration checks them
lint:
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# make bench  measures the speeds that the documentation names; takes some minutes
bench: build
	cargo bench --locked --package servo-benches --benches
	cargo bench --locked --package servo-connector-vegeta --bench engine

# make install  installs the binary, manual pages and completions below PREFIX, /usr/local by default
install: build
	install -D $(TARGET_DIR)/release/servo $(DESTDIR)$(PREFIX)/bin/servo
	$(TARGET_DIR)/release/servo man-pages $(SHARE)/man/man1
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	$(TARGET_DIR)/release/servo completions bash > $(SHARE)/bash-completion/completions/servo
	$(TARGET_DIR)/release/servo completions zsh > $(SHARE)/zsh/site-functions/_servo
	$(TARGET_DIR)/release/servo completions fish > $(SHARE)/fish/vendor_completions.d/servo.fish
