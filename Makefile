# SPDX-License-Identifier: MIT
#
# make            the .so for $(LUA), in build/$(LUA)/fastpg/core.so
# make help       what else there is

LUA ?= lua5.4
PREFIX ?= /usr/local
CC ?= cc
CFLAGS ?= -O2 -g
WARN = -std=c11 -Wall -Wextra -Wpedantic
WERROR =
BUILD = build/$(LUA)
TEST_LUAS = lua5.4 luajit
ALL_LUAS = lua5.4 lua5.3 lua5.1 luajit
PYTHON ?= python3
export CC LUA_INCDIR PQ_INCDIR PQ_LIBDIR PG_BINDIR SPEC FILTER DEPS FUZZ_SECONDS FUZZ FUZZ_INPUT FUZZ_SEED JOBS

MAKEFLAGS += --no-print-directory
SIDE_BY_SIDE = -j$(shell nproc 2>/dev/null || echo 2)

# Asked once, when a recipe first needs it: `make deps` may have run in between.
once = $(eval $(1) := $(2))$($(1))
LUA_CFLAGS = $(call once,LUA_CFLAGS,$(shell tools/config.sh lua-cflags $(LUA)))
PQ_CFLAGS = $(call once,PQ_CFLAGS,$(shell tools/config.sh pq-cflags))
NGINX_CFLAGS = $(if $(filter luajit,$(LUA)),$(call once,NGINX_CFLAGS,$(shell tools/nginx.sh cflags)))
PQ_LIBS = $(call once,PQ_LIBS,$(shell tools/config.sh pq-libs))

# V=1 shows the commands.
Q = $(if $(V),,@)
say = @$(if $(V),:,echo "  $(1) $@")

# nodelete: a helper thread may still run in the .so when its Lua state is closed.
ifeq ($(shell uname -s),Darwin)
SHARED = -bundle -undefined dynamic_lookup
else
SHARED = -shared -Wl,-z,nodelete -Wl,--as-needed
endif
LIBS = $(PQ_LIBS) -lgmp -lm -pthread

CORE = $(BUILD)/fastpg/core.so
# A room's files include what is in their own room or below it: nothing else is on their include path.
ROOMS = plain lua value json host sql type pg table
up_to = $(if $(2),-iquote csrc/$(firstword $(2)) $(if $(filter $(1),$(firstword $(2))),,$(call up_to,$(1),$(wordlist 2,99,$(2)))))
includes = $(call up_to,$(firstword $(subst /, ,$(1))),$(ROOMS))

SRC = $(filter-out csrc/relay.c,$(wildcard csrc/*.c $(ROOMS:%=csrc/%/*.c)))
OBJ = $(SRC:csrc/%.c=$(BUILD)/%.o) $(EXTRA:%=$(BUILD)/%.o)

LUA_VERSION = $(patsubst lua%,%,$(patsubst luajit,lua5.1,$(LUA)))
LUADIR = $(PREFIX)/share/lua/$(LUA_VERSION)
LIBDIR = $(PREFIX)/lib/lua/$(LUA_VERSION)

# ---- building ---------------------------------------------------------------------------------

all: ## build for LUA=lua5.4 (default), lua5.3, lua5.1 or luajit; installs nothing
	@DEPS=no tools/deps.sh build $(LUA)
	@$(MAKE) $(SIDE_BY_SIDE) build

build: $(CORE)
	@:

deps: ## install what is missing (Debian, Ubuntu) for building and testing; with LUA=lua5.3 for building for that one
	@tools/deps.sh $(if $(filter command,$(origin LUA)),build run $(LUA),build run server test lint $(TEST_LUAS))

$(BUILD)/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -D_GNU_SOURCE $(WARN) $(WERROR) $(CFLAGS) -fPIC -fvisibility=hidden \
	  $(LUA_CFLAGS) $(PQ_CFLAGS) $(if $(filter host/nginx_events,$*),$(NGINX_CFLAGS)) \
	  $(if $(filter lua/compiled,$*),-DFPG_COMPILED='"$(COMPILED)"') $(if $(filter host/relay_start,$*),-DFPG_RELAY='"$(RELAY)"') \
	  $(call includes,$*) -MMD -MP -c $< -o $@

# With nginx's headers where `make nginx` has made them.
$(BUILD)/host/nginx_events.o: $(wildcard build/nginx/made-for)

# The Lua files, compiled by the Lua that will run them; without it they are compiled when they are loaded.
COMPILE_WITH ?= $(LUA)
COMPILED = $(BUILD)/compiled
$(COMPILED): tools/compile.lua $(wildcard $(addprefix lua/fastpg/,*.lua */*.lua */*/*.lua))
	@mkdir -p $(@D)
	$(call say,LUA)
	$(Q)if command -v $(COMPILE_WITH) >/dev/null; then $(COMPILE_WITH) tools/compile.lua $@; else \
	  echo "  $(COMPILE_WITH) is not here: the Lua files are not compiled in advance"; : >$@; fi

$(BUILD)/lua/compiled.o: $(COMPILED)

# A program of its own, which the .so carries (Linux only).
RELAY = $(BUILD)/relay
$(RELAY): csrc/relay.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -D_GNU_SOURCE $(WARN) $(WERROR) $(filter-out -fsanitize-coverage=%,$(CFLAGS)) $(LDFLAGS) -s $< -o $@

ifeq ($(shell uname -s),Linux)
$(BUILD)/host/relay_start.o: $(RELAY)
endif

# The fuzzer itself is not watched.
$(BUILD)/fuzz.o: spec/fuzz/fuzz.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) -D_GNU_SOURCE $(WARN) $(WERROR) -O2 -g -fPIC -fvisibility=hidden $(LUA_CFLAGS) -MMD -MP -c $< -o $@

$(CORE): $(OBJ)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(SHARED) $(LDFLAGS) -o $@ $(OBJ) $(LIBS)

-include $(OBJ:.o=.d)

env: ## print two export lines that let $(LUA) find this checkout: eval "$(make env)"
	@LUA=$(LUA) BUILD=$(BUILD) tools/env.sh

# ---- trying and testing -----------------------------------------------------------------------

demo: ## the manual's walk on our music data, or on CHINOOK=path/to/Chinook_PostgreSql.sql
	@tools/deps.sh build run server $(LUA)
	@$(MAKE) build
	@eval "$$($(MAKE) env)" && CHINOOK="$(CHINOOK)" $(LUA) examples/demo.lua

servers: ## the servers of a database, live: SERVERS="'host=a dbname=shop' 'host=b'", EVERY=1, COUNT=; without SERVERS a demo
	@tools/deps.sh build run $(if $(SERVERS),,server) $(LUA)
	@$(MAKE) build
	@eval "$$($(MAKE) env)" && $(LUA) tools/servers.lua --every "$(or $(EVERY),1)" $(if $(COUNT),--count "$(COUNT)") $(or $(SERVERS),--demo)

server: ## a private server with the music data, until Ctrl-C; prints how to connect
	@tools/deps.sh build run server $(LUA)
	@$(MAKE) $(SIDE_BY_SIDE) build
	@eval "$$($(MAKE) env)" && $(LUA) tools/server.lua

test: ## the specs on Lua 5.4 and LuaJIT; SPEC=spec/x_spec.lua, FILTER=pattern, JOBS=files side by side
	@$(call run_specs,$(TEST_LUAS))

# What the specs that need a loop or a host (luv, cqueues, copas, nginx, LÖVE, Neovim, PgBouncer) have in common; and the
# other clients that bench/ measures.
HOST_TOOLS = hosts pooler nginx love neovim peers
HOST_SPECS = $(shell grep -lE 'support\.(nginx|proxy|yields|pooler)|luv|cqueues|copas|pgbouncer|bench/run' spec/*_spec.lua)
test-hosts: ## the specs that need event loops, nginx, LÖVE, Neovim or PgBouncer, which are installed where they are missing
	@SPEC="$(or $(SPEC),$(HOST_SPECS))" && FPG_TEST_BENCH=1 && export SPEC FPG_TEST_BENCH && $(call run_specs,$(TEST_LUAS),$(HOST_TOOLS))

test-all: ## the specs on Lua 5.4, 5.3, 5.1 and LuaJIT, and a second of fuzzing each target
	@export REGRESS=all FPG_TEST_BENCH=1 && $(call run_specs,$(ALL_LUAS),$(HOST_TOOLS))
	@if [ -z "$(SPEC)$(FILTER)" ]; then $(MAKE) fuzz FUZZ_SECONDS=1; fi

run_specs = tools/deps.sh build run server test $(2) $(1) && \
  $(if $(filter nginx,$(2)),tools/nginx.sh &&) \
  for lua in $(1); do $(MAKE) $(SIDE_BY_SIDE) build LUA=$$lua || exit 1; done && tools/test.sh $(1)

# The interpreter is not instrumented, so the sanitizer's library is put before it. Leaks are looked
# for under PUC Lua only: LeakSanitizer cannot see into LuaJIT's own heap.
SANITIZE = -DFPG_TESTING -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
asan: ## the specs on Lua 5.4 and LuaJIT under AddressSanitizer and UBSan
	@tools/deps.sh build run server test hosts pooler $(TEST_LUAS)
	@for lua in $(TEST_LUAS); do \
	  $(MAKE) $(SIDE_BY_SIDE) build LUA=$$lua BUILD=build/asan-$$lua CFLAGS="$(SANITIZE)" LDFLAGS="-fsanitize=address,undefined" || exit 1; \
	done
	@BUILD_PREFIX=asan- RUNNER="tools/asan.sh" tools/test.sh $(TEST_LUAS)

valgrind: ## the specs on Lua 5.4 under valgrind (slow)
	@command -v valgrind >/dev/null || { echo "valgrind is not installed (package valgrind)"; exit 1; }
	@tools/deps.sh build run server test hosts pooler lua5.4
	@$(MAKE) build LUA=lua5.4
	@RUNNER="valgrind -q --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --child-silent-after-fork=yes" \
	  tools/test.sh lua5.4

in_nginx = $(filter nginx,$(LOOP))
# Which loop: LOOP=block, step, luv, cqueues, copas, nginx.
soak: ## writers behind a proxy where everything goes wrong, SERVERS=1: on a primary and two standbys; SECONDS=60, LOOP=luv, LUA=luajit, SEED=
	@tools/deps.sh build run server hosts $(if $(SERVERS),pooler) $(if $(in_nginx),nginx) $(LUA)
	@$(if $(in_nginx),tools/nginx.sh)
	@$(MAKE) build
	@eval "$$($(MAKE) env)" && LUA_PATH="./?.lua;$$LUA_PATH" $(if $(in_nginx),tools/nginx_lua.sh,$(LUA)) tools/soak$(if $(SERVERS),_servers).lua "$(or $(SECONDS),60)" "$(or $(LOOP),luv)" $(SEED)

regress: ## SQL=directory (or files): each statement by every way, beside psql; WAYS="q each", SETUP=files, LUA=luajit
	@tools/deps.sh build run server $(LUA)
	@$(MAKE) build
	@eval "$$($(MAKE) env)" && LUA_PATH="./?.lua;$$LUA_PATH" SQL="$(SQL)" WAYS="$(WAYS)" SETUP="$(SETUP)" $(LUA) tools/regress.lua

bench: ## fastpg beside raw libpq, asyncpg, psycopg, LuaSQL, LuaDBI: QUICK=1, ONLY="queries tables", PGMOON=directory
	@tools/deps.sh build run server $(TEST_LUAS)
	@tools/deps.sh peers $(TEST_LUAS) || echo "make bench: without what is missing"
	@bench/run.sh

bench-table: ## write what was measured last into the tables of README.md and doc/performance.md
	@$(LUA) bench/table.lua README.md doc/performance.md

bench-nginx: ## requests per second of an nginx worker that reads a row; PGMOON=directory measures pgmoon too
	@tools/deps.sh build run server nginx wrk luajit
	@$(MAKE) nginx LUA=luajit
	@eval "$$($(MAKE) env LUA=luajit)" && LUA_PATH="./?.lua;$$LUA_PATH" luajit bench/nginx.lua

# One program, the sanitizers and the coverage of blocks in it; see spec/fuzz/.
fuzz: ## fuzz decoders, readers, JSON, the SQL scanner: FUZZ_SECONDS=60 each, FUZZ=target, FUZZ_INPUT=file
	@tools/deps.sh build run test lua5.4
	@$(MAKE) build LUA=lua5.4 BUILD=build/fuzz EXTRA=fuzz \
	  CFLAGS="$(SANITIZE) -fsanitize=float-cast-overflow -fsanitize-coverage=trace-pc" LDFLAGS="-fsanitize=address,undefined"
	@tools/fuzz.sh

fuzz-seeds: ## write spec/fuzz/seeds anew, by a server's own send functions
	@tools/deps.sh build run server test hosts pooler lua5.4
	@$(MAKE) build LUA=lua5.4
	@eval "$$($(MAKE) env LUA=lua5.4)" && LUA_PATH="./?.lua;$$LUA_PATH" lua5.4 spec/fuzz/seeds.lua

nginx: ## build for LuaJIT with nginx's headers: nginx's event loop then watches the connections
	@tools/deps.sh build nginx luajit
	@tools/nginx.sh
	@$(MAKE) build LUA=luajit

# ---- keeping it tidy --------------------------------------------------------------------------

lint: ## luacheck and a C build, warnings as errors
	@tools/deps.sh build lint $(TEST_LUAS)
	luacheck -q .
	@for lua in $(TEST_LUAS); do \
	  $(MAKE) $(SIDE_BY_SIDE) build LUA=$$lua BUILD=build/lint-$$lua WERROR=-Werror CFLAGS="-O2" || exit 1; \
	done

fmt: ## clang-format over csrc (FMT=clang-format-14: versions differ a little)
	@command -v $(FMT) >/dev/null || { echo "$(FMT) is not installed (package clang-format)"; exit 1; }
	$(FMT) -i $(wildcard csrc/*.[ch] csrc/*/*.[ch] bench/peers/*.c)
FMT ?= clang-format

generated: ## write csrc/plain/*.def anew from the installed PostgreSQL, and doc/types.md
	tools/generate.sh
	@$(MAKE) build
	@eval "$$($(MAKE) env)" && $(LUA) tools/gen_types_page.lua

check-generated: ## are they what the installed PostgreSQL gives?
	tools/generate.sh --check
	@$(MAKE) build
	@eval "$$($(MAKE) env)" && $(LUA) tools/gen_types_page.lua --check

# ---- installing -------------------------------------------------------------------------------

install: build ## to PREFIX=/usr/local (and DESTDIR=), for LUA=
	@tools/install.sh install "$(DESTDIR)$(LUADIR)" "$(DESTDIR)$(LIBDIR)" $(CORE)

uninstall: ## what `install` with the same PREFIX= and LUA= put there
	@tools/install.sh uninstall "$(DESTDIR)$(LUADIR)" "$(DESTDIR)$(LIBDIR)"

# For the rockspec: LUA_INCDIR names the Lua, so nothing here may depend on $(LUA).
luarocks:
	rm -rf build/luarocks
	$(MAKE) build BUILD=build/luarocks

luarocks-install:
	@tools/install.sh install "$(INST_LUADIR)" "$(INST_LIBDIR)" build/luarocks/fastpg/core.so

dist: ## build/fastpg-VERSION.tar.gz of what is committed
	@mkdir -p build
	git archive --format=tar.gz --prefix=fastpg-$(VERSION)/ -o build/fastpg-$(VERSION).tar.gz HEAD
	@echo build/fastpg-$(VERSION).tar.gz
VERSION = $(or $(shell git describe --tags --always 2>/dev/null),scm)

clean: ## remove build/
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r a b; do printf '%-24s%s\n' "$$a" "$$b"; done

.PHONY: servers all build deps env demo server test test-hosts test-all asan valgrind soak regress bench bench-table bench-nginx fuzz \
  fuzz-seeds nginx lint fmt generated check-generated install uninstall luarocks luarocks-install dist clean help
