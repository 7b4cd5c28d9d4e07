#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: builds what is measured, says which peers are missing, and starts bench/run.lua.
#
#   bench/run.sh              ONLY="queries frames"   some of them    QUICK=1   all in two minutes
#                             ROUNDS=7   more rounds    SCALE=0.2   fewer queries
#                             PGMOON=directory   pgmoon takes part    PYTHON=/usr/bin/python3
#
# It installs nothing.

cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-/usr/bin/python3}
# `make bench` exports PYTHON=python3, which may be one without Debian's packages
[ "$python" != python3 ] || [ ! -x /usr/bin/python3 ] || python=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1

dir=${BENCH_DIR:-build/bench} # figures, and what is made for measuring
mkdir -p "$dir"
eval "${CC:-cc} -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra $(tools/config.sh pq-cflags) bench/peers/libpq.c \
  -o '$dir/libpq' $(tools/config.sh pq-libs) -lm" || exit 1

contestants="libpq=$dir/libpq"
take() { contestants="$contestants;$1=$2"; }
without() { echo "bench: without $1"; }

if "$python" -c "import asyncpg" 2>/dev/null; then
  take asyncpg "$python bench/peers/asyncpg_peer.py"
  "$python" -c "import uvloop" 2>/dev/null || without "uvloop: asyncpg runs on Python's own loop (package python3-uvloop)"
else
  without "asyncpg ($python has none; package python3-asyncpg)"
fi
if "$python" -c "import psycopg" 2>/dev/null; then
  take psycopg "$python bench/peers/psycopg_peer.py"
else
  without "psycopg ($python has none; package python3-psycopg)"
fi
for lua in lua5.4 luajit; do
  command -v $lua >/dev/null || { without "$lua (not installed)"; continue; }
  make -s build LUA=$lua || exit 1
  { # that Lua with the paths of this checkout's build for it
    echo "#!/bin/sh"
    make -s env LUA=$lua
    echo "exec $lua \"\$@\""
  } >"$dir/$lua"
  chmod +x "$dir/$lua"
  take "fastpg $lua" "$dir/$lua bench/peers/fastpg_peer.lua"
  "$dir/$lua" -e 'require "luv"' 2>/dev/null || without "fastpg's tasks on $lua (package lua-luv)"
done
has() { "$dir/lua5.4" -e "require 'socket' require '$1'" 2>/dev/null; }
if [ -z "$PGMOON" ]; then
  without "pgmoon (PGMOON=directory that has pgmoon/init.lua)"
else
  for lua in lua5.4 luajit; do
    if "$dir/$lua" -e 'require "socket" require "openssl.digest"' 2>/dev/null; then
      take "pgmoon $lua" "$dir/$lua bench/peers/pgmoon_peer.lua"
    else
      without "pgmoon on $lua (packages lua-socket, lua-luaossl)"
    fi
  done
fi
if has luasql.postgres; then
  take "luasql lua5.4" "$dir/lua5.4 bench/peers/luasql_peer.lua"
else
  without "LuaSQL (packages lua-sql-postgres, lua-socket)"
fi
if has DBI; then
  take "luadbi lua5.4" "$dir/lua5.4 bench/peers/luadbi_peer.lua"
else
  without "LuaDBI (packages lua-dbi-postgresql, lua-socket)"
fi

if [ -t 2 ]; then export PROGRESS=yes; fi
bench/versions.sh "$python" >"$dir/versions"
# The questions, then the programs that ask fastpg alone.
asked() { case " ${ONLY-$1} " in *" $1 "*) ;; *) false ;; esac }
programs="frames memory"
questions=
for name in ${ONLY-queries connections tables stream bulk ways growth start held}; do
  case " $programs " in *" $name "*) ;; *) questions="$questions $name" ;; esac
done
if [ -n "$questions" ]; then
  ONLY=$questions CONTESTANTS=$contestants "$dir/lua5.4" bench/run.lua || exit 1
fi
[ -n "$QUICK" ] || export COUNT="${COUNT:-100000}" # statements of each kind, for bench/memory.lua
[ -z "$QUICK" ] || export REPEAT="${REPEAT:-1}" # for bench/frames.lua
for name in $programs; do
  if ! asked $name || [ ! -f bench/$name.lua ]; then continue; fi
  for lua in lua5.4 luajit; do
    [ -x "$dir/$lua" ] || continue
    echo
    "$dir/$lua" bench/$name.lua >"$dir/$name-$lua" || exit 1
    cat "$dir/$name-$lua"
  done
done
