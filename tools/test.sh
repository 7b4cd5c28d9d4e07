#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh: runs the specs on each Lua named, adds up, and ends with the line "N passed, N failed".
#
#   tools/test.sh lua5.4 luajit
#
#   SPEC=spec/x_spec.lua   only this file or folder      FILTER=pattern   only tests whose name matches
# Specs that run a Lua of their own start it by the command $FPG_TEST_LUA.
#
#   BUILD_PREFIX=asan-     the .so of build/asan-lua5.4  RUNNER="valgrind ..."   put before the interpreter
#
# Fails on a failure, on an error outside a test, when a Lua crashes, and when no test ran.

cd "$(dirname "$0")/.." || exit 1
top=$(pwd -P)
counts=$(mktemp) || exit 1
trap 'rm -f "$counts"' EXIT
passed=0 failed=0 status=0
unset LUA_INIT LUA_INIT_5_3 LUA_INIT_5_4 LUA_PATH_5_3 LUA_PATH_5_4 LUA_CPATH_5_3 LUA_CPATH_5_4

for lua; do
  echo "== $lua"
  : >"$counts"
  # shellcheck disable=SC2086 # RUNNER is words
  FPG_TEST_NAME=$lua FPG_TEST_LUA="${RUNNER:-}${RUNNER:+ }$lua" FPG_TEST_COUNTS=$counts \
    LUA_PATH="$top/lua/?.lua;$top/lua/?/init.lua;$top/?.lua;;" \
    LUA_CPATH="$top/build/${BUILD_PREFIX:-}$lua/?.so;;" \
    ${RUNNER:-} "$lua" spec/support/run.lua </dev/null
  code=$?
  p=0 f=0
  read -r p f <"$counts"
  if [ -z "$f" ]; then
    echo "$lua: the run ended early (exit code $code)"
    p=0 f=1
  elif [ $code -ne 0 ] && [ "$f" = 0 ]; then
    echo "$lua: exit code $code after the last test"
    f=1
  elif [ "$p" = 0 ] && [ "$f" = 0 ]; then
    echo "$lua: no test ran"
    status=1
  fi
  passed=$((passed + p)) failed=$((failed + f))
done

echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $status -eq 0 ] && [ $passed -gt 0 ]
