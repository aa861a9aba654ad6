# make            the library and the C examples
# make demo       a session's life, seen by a client
# make test       everything that CI runs
# make bench      side by side with what else there is; docs/benchmarks.md
# make install    DESTDIR= PREFIX=/usr/local
#
# The user-space network: make lwip, test-lwip, bench-lwip, install-lwip; lwip/README.md

CARGO  ?= cargo
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
# Where openl2tpd looks for a plugin that is named without a slash.
OPENL2TP_PLUGIN_DIR ?= /usr/lib/openl2tp
OPENSIPS_MODULES ?= /usr/lib/x86_64-linux-gnu/opensips/modules

TARGET   := $(or $(CARGO_TARGET_DIR),target)
EXAMPLES := $(TARGET)/c_examples
VERSION  := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
WARNINGS := -Wall -Wextra -pedantic -Werror
CFLAGS   ?= -O2 -g

.PHONY: all build c_examples demo test lint loom fuzz fuzz-short bench setup header install install-opensips clean
.PHONY: lwip test-lwip setup-lwip header-lwip bench-lwip install-lwip

all: build c_examples

build: setup
	$(CARGO) build --release
	ln -sf libherald.so $(TARGET)/release/libherald.so.0

LINK_HERALD := -L$(TARGET)/release -lherald -Wl,-rpath,'$$ORIGIN/../release'
COMPILE = $(CC) -std=gnu99 $(WARNINGS) $(CFLAGS) -Iinclude c_examples/$(1).c -o $(EXAMPLES)/$(1) $(2)

c_examples: build
	@mkdir -p $(EXAMPLES)
	$(call COMPILE,event_client)
	$(call COMPILE,datagram_client)
	$(call COMPILE,embed,$(LINK_HERALD))
	$(call COMPILE,l2tp_host,-rdynamic -ldl -lpthread)
	$(call COMPILE,opensips_host,-rdynamic -ldl -lpthread)

demo: all
	@sh docs/demo.sh $(EXAMPLES) $(TARGET)/release/libherald.so

setup:
	@sh .ci/setup

header: build
	cp "$$(ls -t $(TARGET)/release/build/herald-*/out/herald.h | head -1)" include/herald.h

lint: setup-lwip
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; else echo "skipped: no rustfmt"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy --workspace --all-targets -- -D warnings; else echo "skipped: no clippy"; fi

test: all lint
	$(CARGO) build
	$(CARGO) test
	$(MAKE) --no-print-directory test-lwip loom fuzz-short

# Every interleaving of the publish path.
loom:
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(TARGET)/loom $(CARGO) test --release -p herald --lib loom_tests

FUZZ_TARGETS = $(notdir $(basename $(wildcard $(1)/fuzz_targets/*.rs)))
FUZZ_IN = (cd $(1) && for target in $(FUZZ_TARGETS); do $(CARGO) +nightly fuzz run $$target -- -max_total_time=$(2) || exit 1; done)
FUZZ = $(call FUZZ_IN,fuzz,$(1)) && $(call FUZZ_IN,lwip/fuzz,$(1))

fuzz-short: setup-lwip
	@if sh .ci/setup fuzz; then $(call FUZZ,3); else echo "skipped: fuzzing needs a nightly toolchain"; fi

# An hour each.
fuzz: setup-lwip
	sh .ci/setup fuzz && $(call FUZZ,3600)

# BENCH=--quick takes a look only.
bench: build
	@sh .ci/setup bench
	$(CARGO) run --release -p herald-bench -- $(BENCH)
	$(CC) -std=gnu99 $(WARNINGS) -O2 -rdynamic benches/raise.c -o $(TARGET)/release/raise -lcjson -ldl -lpthread
	$(TARGET)/release/raise $(TARGET)/release/libherald.so

install:
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(OPENL2TP_PLUGIN_DIR) \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 755 $(TARGET)/release/libherald.so $(DESTDIR)$(LIBDIR)/libherald.so.$(VERSION)
	ln -sf libherald.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libherald.so.0
	ln -sf libherald.so.0 $(DESTDIR)$(LIBDIR)/libherald.so
	install -m 755 $(TARGET)/release/libherald.so $(DESTDIR)$(OPENL2TP_PLUGIN_DIR)/event_sock.so
	install -m 644 include/herald.h $(DESTDIR)$(PREFIX)/include/herald.h
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' herald.pc.in \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/herald.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/herald.pc
	install -m 644 docs/man/herald.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/herald.toml.5
	install -m 644 docs/man/herald.7 docs/man/herald-opensips.7 $(DESTDIR)$(PREFIX)/share/man/man7

# Over the stock module of OpenSIPS.
install-opensips:
	install -d $(DESTDIR)$(OPENSIPS_MODULES)
	install -m 755 $(TARGET)/release/libherald.so $(DESTDIR)$(OPENSIPS_MODULES)/event_datagram.so

# The user-space network.

setup-lwip: setup
	@sh .ci/setup lwip

lwip: setup-lwip
	$(CARGO) build --release -p herald-lwip
	ln -sf libherald_lwip.so $(TARGET)/release/libherald_lwip.so.0

header-lwip: setup-lwip
	$(CARGO) build -p herald-lwip
	cp "$$(ls -t $(TARGET)/debug/build/herald-lwip-*/out/herald_lwip.h | head -1)" include/herald_lwip.h

test-lwip: setup-lwip
	$(CARGO) test -p herald-lwip

# MB/s and CPU; docs/benchmarks.md. BENCH="fdif tun" runs some.
bench-lwip: lwip
	lwip/benches/run $(abspath $(TARGET))/release $(abspath $(TARGET))/lwip-benches $(BENCH)

install-lwip:
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 755 $(TARGET)/release/libherald_lwip.so $(DESTDIR)$(LIBDIR)/libherald_lwip.so.$(VERSION)
	ln -sf libherald_lwip.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libherald_lwip.so.0
	ln -sf libherald_lwip.so.0 $(DESTDIR)$(LIBDIR)/libherald_lwip.so
	install -m 644 include/herald_lwip.h $(DESTDIR)$(PREFIX)/include/herald_lwip.h
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' lwip/herald-lwip.pc.in \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/herald-lwip.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/herald-lwip.pc
	install -m 644 docs/man/herald-lwip.7 $(DESTDIR)$(PREFIX)/share/man/man7

clean:
	$(CARGO) clean
