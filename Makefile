# SPDX-License-Identifier: MIT
LUA ?= lua5.4
BUILD = build/$(LUA)
CC ?= cc

LUA_PC_lua5.4 = lua5.4
LUA_PC_lua5.3 = lua5.3
LUA_PC_lua5.1 = lua5.1
LUA_PC_luajit = luajit
LUA_PC = $(LUA_PC_$(LUA))
LUA_CFLAGS = $(shell pkg-config --cflags $(LUA_PC)) $(if $(filter luajit,$(LUA)),-DFPG_LUAJIT)
PQ_CFLAGS = $(shell pkg-config --cflags libpq)
PQ_LIBS = $(shell pkg-config --libs libpq)

CFLAGS ?= -O2 -g
WARN = -std=c11 -Wall -Wextra -Wpedantic -Werror
SRC = $(wildcard csrc/*.c)
OBJ = $(SRC:csrc/%.c=$(BUILD)/%.o)

all: $(BUILD)/fastpg/core.so

$(BUILD)/%.o: csrc/%.c $(wildcard csrc/*.h csrc/*.def)
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(WARN) $(CFLAGS) -fPIC -fvisibility=hidden $(LUA_CFLAGS) $(PQ_CFLAGS) -c $< -o $@

$(BUILD)/fastpg/core.so: $(OBJ)
	@mkdir -p $(@D)
	$(CC) -shared -Wl,-z,nodelete $(LDFLAGS) -o $@ $(OBJ) $(PQ_LIBS) -lm

env:
	@echo 'export LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$${LUA_PATH:-};;"'
	@echo 'export LUA_CPATH="$(CURDIR)/$(BUILD)/?.so;$${LUA_CPATH:-};;"'

clean:
	rm -rf build

.PHONY: all env clean
