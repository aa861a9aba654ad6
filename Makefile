# make            the library and the C examples
# make demo       a session's life, seen by a client
# make test       everything that CI runs
# make bench      side by side with what else there is; docs/benchmarks.md
# make vpp-plugin herald_plugin.so, with HERALD_VPP_SDK=tree of VPP 26.06
# make install    DESTDIR= PREFIX=/usr/local
#
# The user-space network: make lwip, test-lwip, bench-lwip, install-lwip; lwip/README.md

CARGO  ?= cargo
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
# Where openl2tpd looks for a plugin that is named without a slash.
OPENL2TP_PLUGIN_DIR ?= /usr/lib/openl2tp
VPP_PLUGINS ?= /usr/lib/x86_64-linux-gnu/vpp_plugins
VPP_API ?= /usr/share/vpp/api
OPENSIPS_MODULES ?= /usr/lib/x86_64-linux-gnu/opensips/modules

TARGET   := $(or $(CARGO_TARGET_DIR),target)
EXAMPLES := $(TARGET)/c_examples
VERSION  := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
WARNINGS := -Wall -Wextra -pedantic -Werror
CFLAGS   ?= -O2 -g

.PHONY: all build c_examples demo test test-vpp-plugin lint loom fuzz fuzz-short asan bench setup header vpp-plugin install install-opensips \
	install-vpp-plugin clean
.PHONY: lwip c_examples_lwip demo-lwip test-lwip setup-lwip header-lwip bench-lwip install-lwip

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
	$(call COMPILE,testgovpp_host,$(LINK_HERALD))
	$(call COMPILE,l2tp_host,-rdynamic -ldl -lpthread)
	$(call COMPILE,opensips_host,-rdynamic -ldl -lpthread)

demo: all
	@sh docs/demo.sh $(EXAMPLES) $(TARGET)/release/libherald.so

setup:
	@sh .ci/setup

# For VPP 26.06; docs/vpp-plugin.md.
vpp-plugin: setup
	@sh .ci/setup vpp
	@sh vpp-plugin/build.sh $(TARGET)/vpp-plugin/herald_plugin.so

header: build
	cp "$$(ls -t $(TARGET)/release/build/herald-*/out/herald.h | head -1)" include/herald.h

lint: setup-lwip
	@if $(CARGO) fmt --version >/dev/null 2>&1; then $(CARGO) fmt --all --check; else echo "skipped: no rustfmt"; fi
	@if $(CARGO) clippy --version >/dev/null 2>&1; then $(CARGO) clippy --workspace --all-targets -- -D warnings; else echo "skipped: no clippy"; fi

test: all lint
	$(CARGO) build
	$(CARGO) test
	$(MAKE) --no-print-directory test-vpp-plugin test-lwip loom fuzz-short

# In a real VPP if HERALD_VPP_SDK names one.
test-vpp-plugin:
	@$(if $(HERALD_VPP_SDK),$(MAKE) --no-print-directory vpp-plugin)
	$(CARGO) test -p herald-vpp-plugin

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

# The C tests once more, with the address sanitizer over the Rust side as well: HERALD_LONG=1 for all
# of them. The short fuzzing of `make test` is also under that sanitizer.
ASAN_TARGET := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
ASAN_LIBS = $(abspath $(TARGET))/asan/$(ASAN_TARGET)/debug
ASAN_BUILD = RUSTFLAGS=-Zsanitizer=address $(CARGO) +nightly build --target $(ASAN_TARGET) --target-dir $(TARGET)/asan --lib
asan: all setup-lwip
	@if $(CARGO) +nightly --version >/dev/null 2>&1; then \
		$(ASAN_BUILD) -p herald -p herald-lwip && \
		HERALD_LIB=$(ASAN_LIBS)/libherald.so $(CARGO) test --test memory --test opensips_host sanitizers && \
		HERALD_LWIP_LIB=$(ASAN_LIBS)/libherald_lwip.so $(CARGO) test -p herald-lwip sanitizer; \
	else echo "skipped: the sanitizer needs a nightly toolchain"; fi

# BENCH=--quick takes a look only.
bench: build
	@sh .ci/setup bench
	$(CARGO) run --release -p herald-bench -- $(BENCH)
	$(CC) -std=gnu99 $(WARNINGS) -O2 -rdynamic benches/raise.c -o $(TARGET)/release/raise -lcjson -ldl -lpthread
	$(TARGET)/release/raise $(TARGET)/release/libherald.so
	$(if $(HERALD_VPP_SDK),$(MAKE) --no-print-directory c_examples vpp-plugin && $(CARGO) bench -p herald-vpp-plugin,\
		@echo "skipped: the plugin for VPP is measured if HERALD_VPP_SDK names a tree of VPP 26.06")

# The loader finds what is new in a directory of its own only after this; a packager sees to it elsewhere.
LDCONFIG = $(if $(DESTDIR),,-ldconfig)

install:
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(OPENL2TP_PLUGIN_DIR) \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 755 $(TARGET)/release/libherald.so $(DESTDIR)$(LIBDIR)/libherald.so.$(VERSION)
	ln -sf libherald.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libherald.so.0
	ln -sf libherald.so.0 $(DESTDIR)$(LIBDIR)/libherald.so
	install -m 755 $(TARGET)/release/libherald.so $(DESTDIR)$(OPENL2TP_PLUGIN_DIR)/event_sock.so
	install -m 755 $(TARGET)/release/herald-apigen $(DESTDIR)$(PREFIX)/bin/herald-apigen
	install -m 644 include/herald.h $(DESTDIR)$(PREFIX)/include/herald.h
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' herald.pc.in \
		>$(DESTDIR)$(LIBDIR)/pkgconfig/herald.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/herald.pc
	install -m 644 docs/man/herald.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/herald.toml.5
	install -m 644 docs/man/herald.7 docs/man/herald-opensips.7 $(DESTDIR)$(PREFIX)/share/man/man7
	$(LDCONFIG)

# Over the stock module of OpenSIPS.
install-opensips:
	install -d $(DESTDIR)$(OPENSIPS_MODULES)
	install -m 755 $(TARGET)/release/libherald.so $(DESTDIR)$(OPENSIPS_MODULES)/event_datagram.so

# testgovpp.api.json is for clients that read the definitions from a folder.
install-vpp-plugin:
	install -d $(DESTDIR)$(VPP_PLUGINS) $(DESTDIR)$(VPP_API)/plugins
	install -m 755 $(TARGET)/vpp-plugin/herald_plugin.so $(DESTDIR)$(VPP_PLUGINS)/herald_plugin.so
	install -m 644 vpp-api/tests/data/testgovpp.api.json $(DESTDIR)$(VPP_API)/plugins/testgovpp.api.json

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

# lwIP's own headers do not pass -pedantic.
LINK_LWIP := -isystem /usr/include/lwip -L$(TARGET)/release -lherald_lwip -llwip -levent_core -Wl,-rpath,'$$ORIGIN/../release'

c_examples_lwip: lwip
	@mkdir -p $(EXAMPLES)
	$(call COMPILE,lwip_echo,$(LINK_LWIP))
	$(call COMPILE,lwip_gateway,$(LINK_LWIP))

# Events for a host that only a VDE switch leads to.
demo-lwip: all c_examples_lwip
	@sh docs/demo-lwip.sh $(EXAMPLES) $(TARGET)/release/libherald.so

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
	$(LDCONFIG)

clean:
	$(CARGO) clean
