#!/bin/sh
# SPDX-License-Identifier: MIT
#
# env.sh: two export lines with which $LUA finds this checkout: before what the user has set, and
# with Lua's own default paths (";;"). Lua 5.3 and 5.4 prefer LUA_PATH_5_x over LUA_PATH: where the
# user has that set, the same line sets both.

cd "$(dirname "$0")/.." || exit 1
here=$(pwd -P | sed 's/[\\"$`]/\\&/g')

line() { # variable, our part
  versioned=
  case $LUA in
    lua5.3) versioned=$1_5_3 ;;
    lua5.4) versioned=$1_5_4 ;;
  esac
  printf 'export %s="%s;${%s:+$%s;};"' "$1" "$2" "$1" "$1"
  if [ -n "$versioned" ] && eval "[ -n \"\${$versioned:-}\" ]"; then
    printf ' %s="%s;${%s:-};;"' "$versioned" "$2" "$versioned"
  fi
  echo
}

line LUA_PATH "$here/lua/?.lua;$here/lua/?/init.lua"
line LUA_CPATH "$here/$BUILD/?.so"
