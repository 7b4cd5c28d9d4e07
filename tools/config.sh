#!/bin/sh
# SPDX-License-Identifier: MIT
#
# config.sh: where the headers and libraries are. Prints compiler flags; exits 1 when not found.
#
#   tools/config.sh lua-cflags lua5.4    $LUA_INCDIR, else pkg-config, else the usual places
#   tools/config.sh pq-cflags | pq-libs  $PQ_INCDIR / $PQ_LIBDIR, else pkg-config, else pg_config
#
# Paths are printed in single quotes, for a shell to read.

quoted() { printf "%s'%s' " "$1" "$(printf '%s' "$2" | sed "s/'/'\\\\''/g")"; }

lua_cflags() {
  if [ -n "$LUA_INCDIR" ]; then
    include "$LUA_INCDIR"
    return
  fi
  version=${1#lua}
  case $1 in
    luajit) names=luajit ;;
    *) names="lua$version lua-$version lua$(printf %s "$version" | tr -d .)" ;;
  esac
  for name in $names; do
    pkg-config --exists "$name" 2>/dev/null || continue
    pkg-config --cflags "$name"
    [ "$1" != luajit ] || echo -DFPG_LUAJIT
    return
  done
  for dir in "/usr/include/$1" /usr/include/luajit-2.1 "/usr/local/include/$1" \
    /usr/local/include/luajit-2.1 "/opt/homebrew/include/$1"; do
    case $1:$dir in luajit:*luajit*) ;; luajit:* | *:*luajit*) continue ;; esac
    if [ -f "$dir/lua.h" ]; then
      include "$dir"
      return
    fi
  done
  return 1
}

# LuaJIT's own header tells it from PUC Lua 5.1.
include() {
  [ -f "$1/lua.h" ] || return 1
  quoted -I "$1"
  [ ! -f "$1/luajit.h" ] || echo -DFPG_LUAJIT
}

pq_cflags() {
  if [ -n "$PQ_INCDIR" ]; then
    quoted -I "$PQ_INCDIR"
  elif pkg-config --exists libpq 2>/dev/null; then
    pkg-config --cflags libpq
  elif dir=$(pg_config --includedir 2>/dev/null) && [ -f "$dir/libpq-fe.h" ]; then
    quoted -I "$dir"
  else
    return 1
  fi
}

pq_libs() {
  if [ -n "$PQ_LIBDIR" ]; then
    quoted -L "$PQ_LIBDIR"
    echo -lpq
  elif pkg-config --exists libpq 2>/dev/null; then
    pkg-config --libs libpq
  elif dir=$(pg_config --libdir 2>/dev/null); then
    quoted -L "$dir"
    echo -lpq
  else
    return 1
  fi
}

case $1 in
  lua-cflags) lua_cflags "$2" ;;
  pq-cflags) pq_cflags ;;
  pq-libs) pq_libs ;;
  *) echo "usage: config.sh lua-cflags LUA | pq-cflags | pq-libs" >&2 && exit 2 ;;
esac
