#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: builds what is measured, says which peers are missing, and starts bench/run.lua.
#
#   bench/run.sh              ROUNDS=7   more rounds      SCALE=0.2   fewer queries
#                             ONLY=artist                 PYTHON=/usr/bin/python3
#
# It installs nothing.

cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-/usr/bin/python3}
# `make bench` exports PYTHON=python3, which may be one without Debian's packages
[ "$python" != python3 ] || [ ! -x /usr/bin/python3 ] || python=/usr/bin/python3

mkdir -p build/bench
# shellcheck disable=SC2046 # words
${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra $(tools/config.sh pq-cflags) bench/libpq.c \
  -o build/bench/libpq $(tools/config.sh pq-libs) || exit 1

contestants="libpq=build/bench/libpq"
if "$python" -c "import asyncpg" 2>/dev/null; then
  contestants="$contestants;asyncpg=$python bench/asyncpg_bench.py"
else
  echo "bench: without asyncpg ($python has none; Debian, Ubuntu: apt-get install python3-asyncpg)"
fi
for lua in lua5.4 luajit; do
  command -v $lua >/dev/null || { echo "bench: without $lua (not installed)"; continue; }
  make -s build LUA=$lua || exit 1
  contestants="$contestants;fastpg $lua=bench/with.sh $lua bench/fastpg_bench.lua"
done
if bench/with.sh lua5.4 -e 'require "luasql.postgres"' 2>/dev/null; then
  contestants="$contestants;luasql lua5.4=bench/with.sh lua5.4 bench/luasql_bench.lua"
else
  echo "bench: without LuaSQL (Debian, Ubuntu: apt-get install lua-sql-postgres)"
fi

CONTESTANTS=$contestants exec bench/with.sh lua5.4 bench/run.lua
