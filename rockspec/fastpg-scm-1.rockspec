-- SPDX-License-Identifier: MIT
--
-- luarocks make                      at the top of a checkout
--
-- The build is the Makefile's, which finds libpq by pkg-config, else pg_config, else by
-- PQ_INCDIR= and PQ_LIBDIR= on luarocks' command line. GMP is needed too.

rockspec_format = "3.0"
package = "fastpg"
version = "scm-1"
source = { url = "git+file://." }
description = {
  summary = "PostgreSQL for Lua: friendly tables, exact values",
  detailed = [[
    A C extension on libpq with a thin, pleasant layer above it: tables by name, rows as plain
    tables, exact integers and numerics, transactions, classes. Lua 5.4, 5.3, 5.1 and LuaJIT.]],
  license = "MIT",
}
supported_platforms = { "unix" }
dependencies = { "lua >= 5.1, < 5.5" }
build = {
  type = "make",
  build_target = "luarocks",
  install_target = "luarocks-install",
  build_variables = {
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    COMPILE_WITH = "$(LUA)",
    PQ_INCDIR = "$(PQ_INCDIR)",
    PQ_LIBDIR = "$(PQ_LIBDIR)",
  },
  install_variables = {
    INST_LUADIR = "$(LUADIR)",
    INST_LIBDIR = "$(LIBDIR)",
  },
}
