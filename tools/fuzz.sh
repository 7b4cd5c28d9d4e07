#!/bin/sh
# SPDX-License-Identifier: MIT
#
# fuzz.sh: runs the targets of spec/fuzz/targets.lua, each in a process of its own; prints target and
# executions. Fails on a finding, whose input is then in build/fuzz/findings/.
#
#   FUZZ_SECONDS=60   for each target        FUZZ="json sql"   only these targets
#   FUZZ_SEED=1       other changes          FUZZ_INPUT=file   only this file of inputs (of FUZZ, or named as a finding)

cd "$(dirname "$0")/.." || exit 1
top=$(pwd -P)
unset LUA_INIT LUA_INIT_5_4 LUA_PATH_5_4 LUA_CPATH_5_4
LUA_PATH="$top/lua/?.lua;$top/lua/?/init.lua;$top/?.lua;;"
LUA_CPATH="$top/build/fuzz/?.so;;"
# Memory a value claims without having the bytes for it is a finding.
ASAN_OPTIONS="max_allocation_size_mb=256:${ASAN_OPTIONS:-}"
export LUA_PATH LUA_CPATH ASAN_OPTIONS

if [ -n "${FUZZ_INPUT:-}" ] && [ -z "${FUZZ:-}" ]; then
  FUZZ=$(basename "$FUZZ_INPUT" .hex)
  FUZZ=${FUZZ%%-*}
fi

findings=0
for target in ${FUZZ:-$(ls spec/fuzz/seeds)}; do
  tools/asan.sh lua5.4 spec/fuzz/run.lua "$target" && continue
  code=$?
  findings=$((findings + 1))
  tools/asan.sh lua5.4 spec/fuzz/run.lua --save "$target" "$code"
done
[ $findings -eq 0 ] || echo "fuzz: $findings targets have a finding"
[ $findings -eq 0 ]
