# One target per thing one does with gatemeter. `make` alone lists them.

# rustup's stable cargo where there is one: Debian's, which the kernel programs need, may stand first in PATH.
CARGO ?= $(firstword $(wildcard $(HOME)/.cargo/bin/cargo) cargo)
# A build must not notice which cargo it was started from.
unexport RUSTC RUSTUP_TOOLCHAIN
# Calls that are forbidden in this code, with their reasons.
export CLIPPY_CONF_DIR := $(CURDIR)/.ci
# Flags for `make run`, and seconds for `make demo` (0: until Ctrl-C) and each fuzz target of `make fuzz`.
ARGS ?= -e
SECONDS_DEMO ?= 20
SECONDS_FUZZ ?= 60
# Seconds of `make soak`.
SECONDS_SOAK ?= 3600
# Which machines `make system-test` boots, none meaning all, and seconds after which it gives one up.
MACHINE ?=
SECONDS_SYSTEM ?= 2400
# The collectors, each of which is a feature and must build without the others.
COLLECTORS := traffic clients probe homeplug freebox
# What `make cross` builds for, and which of these `make qemu` tests.
ROUTERS := mips mipsel aarch64 x86_64
EMULATED ?= mips mipsel aarch64

.PHONY: help demo run test lint unit integration qemu qemu-mips system-test screenshots bench sizes soak bpf bpf-check \
	cross package fuzz audit clean setup-% versions
.DEFAULT_GOAL := help
# The test results come last, whatever -j says.
.NOTPARALLEL:

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: setup-demo ## a home network on this machine, measured before your eyes (root; SECONDS_DEMO=20)
	$(CARGO) build --bin gatemeter --example demo
	target/debug/examples/demo --seconds $(SECONDS_DEMO)

run: export GATEMETER_REVISION := $(shell git rev-parse --short HEAD 2>/dev/null)
run: ## the daemon on this machine, metrics at http://localhost:9999/metrics (ARGS=-e)
	$(CARGO) build --release
	target/release/gatemeter $(ARGS)

test: setup-test lint bpf-check unit integration qemu-mips ## all of what CI checks (root)

lint: setup-lint ## formatting, clippy, shellcheck: a warning is an error
	$(CARGO) fmt --all --check
	cd bpf && $(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --all-targets --features tls -- -D warnings
	$(CARGO) clippy --no-default-features -- -D warnings
	for collector in $(COLLECTORS); do \
		$(CARGO) clippy --no-default-features --features $$collector -- -D warnings || exit 1; \
	done
	shellcheck .ci/cross .ci/run .ci/setup $$(git ls-files '*.sh') $$(git ls-files tests/package/standin/rc.common) \
		openwrt/gatemeter/files/gatemeter.init openwrt/gatemeter/files/gatemeter.prerm

# uci-sys links OpenWrt's libuci, which tests/uci.rs builds and runs it with.
unit: ## tests beside the code, and the examples in its docs
	$(CARGO) test --no-fail-fast --lib --bins
	$(CARGO) test --doc
	$(CARGO) test --no-default-features --features clients --test without

# All integration tests; those beside the others take minutes in which they only wait for Prometheus.
BESIDE := dashboards
SUITES := $(filter-out $(BESIDE),$(basename $(notdir $(wildcard tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs))))

# They wait for the daemon more than they compute, so the unit tests for MIPS are built meanwhile.
integration: export RUST_TEST_THREADS ?= 6
integration: setup-test cross ## the real program in a lab of network namespaces (root)
	$(CARGO) test --no-run --test '*'
	@mkdir -p target/beside; failed=0; \
	$(CARGO) test --no-fail-fast $(BESIDE:%=--test %) >target/beside/tests 2>&1 & tests=$$!; \
	nice .ci/cross --tests mips-unknown-linux-musl >target/beside/mips 2>&1 & mips=$$!; \
	$(CARGO) test --no-fail-fast $(SUITES:%=--test %) || failed=1; \
	wait $$tests || failed=1; cat target/beside/tests; \
	wait $$mips || { cat target/beside/mips; failed=1; }; \
	exit $$failed
	$(CARGO) test --no-fail-fast --features tls --test freebox
	@if [ -e bpf/target/rebuilt/differs ]; then \
		echo "once more on the kernel programs that this machine's other toolchain has made"; \
		GATEMETER_BPF_OBJECT_DIR=$(CURDIR)/bpf/target/rebuilt $(CARGO) test --no-fail-fast --test kernel --test traffic; \
	fi

qemu: setup-qemu ## the suite on the processors of routers, by user-mode emulation (root)
	.ci/cross $(EMULATED:%=%-unknown-linux-musl)
	CARGO=$(CARGO) tests/qemu/run.sh $(EMULATED:%=%-unknown-linux-musl)

# What differs most from this machine: 32 bits, big-endian. All three take a quarter of an hour.
qemu-mips:
	@$(MAKE) --no-print-directory qemu EMULATED=mips

system-test: setup-cross setup-system ## on real MIPS, big-endian and older kernels in emulated machines (MACHINE=s390x for one)
	CARGO=$(CARGO) SECONDS_SYSTEM=$(SECONDS_SYSTEM) tests/system/run.sh $(MACHINE)

screenshots: setup-screenshots ## pictures of the live page in a whole home, for docs/ (root)
	SCREENSHOTS=$(CURDIR)/docs $(CARGO) test --test page screenshots
	pngquant --force --ext .png --skip-if-larger --speed 1 docs/page-*.png

# In the order of docs/benchmarks.md; `summary` comes last. A missed budget is no failure, an assumption that fails is.
BENCHES := sizes memory packet_cost clients flows probe scrape homeplug freebox idle

bench: setup-bench ## what it costs, side by side with its peers, and a table of all budgets (root; BENCHES=memory for one)
	@rm -f $(BENCHES:%=target/bench/%.tsv)
	$(CARGO) bench --no-run $(BENCHES:%=--bench %) --bench summary
	@begun=$$(date +%s); failed=0; \
	for bench in $(BENCHES); do $(CARGO) bench --quiet --bench $$bench || failed=1; done; \
	$(CARGO) bench --quiet --bench summary || failed=1; \
	echo; echo "$$(nproc) cores, Linux $$(uname -r), load $$(cut -d' ' -f1-3 /proc/loadavg), $$(date +%F), $$(($$(date +%s) - begun)) s"; \
	exit $$failed

sizes: ## what the programs in dist/ weigh on flash, beside budgets and peers
	$(CARGO) bench --quiet --bench sizes

soak: setup-bench ## everything at once, for long: memory, descriptors, missed intervals (root; SECONDS_SOAK=3600)
	$(CARGO) bench --bench soak -- --seconds $(SECONDS_SOAK)

bpf: setup-bpf ## build the kernel programs for both byte orders
	bpf/build.sh

bpf-check: setup-bpf ## build the kernel programs anew and compare with the committed ones
	bpf/build.sh --check

cross: setup-cross ## static programs for routers in dist/, without a container
	.ci/cross $(ROUTERS:%=%-unknown-linux-musl)

package: cross ## packages for opkg in dist/, without OpenWrt's SDK
	openwrt/package

fuzz: ## hostile input against every decoder (nightly and cargo-fuzz; SECONDS_FUZZ=60 for each)
	@command -v cargo-fuzz >/dev/null || { echo "installing cargo-fuzz, which builds and runs the fuzzers"; \
		$(CARGO) install --quiet --locked cargo-fuzz; }
	cd fuzz && for target in $$($(CARGO) +nightly fuzz list); do \
		mkdir -p "target/found/$$target"; \
		$(CARGO) +nightly fuzz run "$$target" "target/found/$$target" "corpus/$$target" -- \
			-max_total_time=$(SECONDS_FUZZ) || exit 1; \
	done

# The advisories come from a repository; without a way to it the rest is checked and the lack of them told.
audit: ## licences, sources, duplicates and known flaws of what we depend on (cargo-deny; deny.toml)
	@command -v cargo-deny >/dev/null || { echo "installing cargo-deny, which reads what the crates say of themselves"; \
		$(CARGO) install --quiet --locked cargo-deny; }
	cargo-deny --locked check licenses bans sources
	@if cargo-deny --locked fetch db >/dev/null 2>&1; then cargo-deny --locked check advisories; \
	else echo "audit: the database of advisories cannot be had from here, so known flaws are NOT checked"; fi

clean: ## remove what was built
	$(CARGO) clean
	rm -rf bpf/target fuzz/target dist

setup-%:
	@.ci/setup $*

versions:
	@$(CARGO) --version
	@$(CARGO) clippy --version
	@uname -srm
