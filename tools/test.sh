#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh: runs the specs on each Lua named, adds up, and ends with the line "N passed, N failed".
#
#   tools/test.sh lua5.4 luajit
#
#   SPEC=spec/x_spec.lua   only this file or folder      FILTER=pattern   only tests whose name matches
#   JOBS=2                 so many files side by side (default: one for each core)
# Specs that run a Lua of their own start it by the command $FPG_TEST_LUA.
#
#   BUILD_PREFIX=asan-     the .so of build/asan-lua5.4  RUNNER="valgrind ..."   put before the interpreter
#
# Each file is a process of its own.  Workers take the files from a queue (a folder: who renames a file has it),
# the longest first, and each has a server of its own for all of its files, so that what one file does to its
# server is seen by no file beside it.  A line comes for each file as it ends.
#
# Fails on a failure, on an error outside a test, when a Lua crashes, and when no test ran.

cd "$(dirname "$0")/.." || exit 1
top=$(pwd -P)
dir=$(mktemp -d) || exit 1
workers=
# shellcheck disable=SC2317 # called by trap
finish() {
  # shellcheck disable=SC2086 # a list of pids
  [ -z "$workers" ] || kill $workers 2>/dev/null
  wait
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP
unset LUA_INIT LUA_INIT_5_3 LUA_INIT_5_4 LUA_PATH_5_3 LUA_PATH_5_4 LUA_CPATH_5_3 LUA_CPATH_5_4
mkdir "$dir/queue" "$dir/done" "$dir/pending"
times=build/spec-times # "seconds Lua file" of the last run

# ---- one file ---------------------------------------------------------------------------------

# run_lua LUA FILE...: an interpreter that finds this checkout
run_lua() {
  lua=$1
  shift
  # shellcheck disable=SC2086 # RUNNER is words
  FPG_TEST_NAME=$lua FPG_TEST_LUA="${RUNNER:-}${RUNNER:+ }$lua" \
    LUA_PATH="$top/lua/?.lua;$top/lua/?/init.lua;$top/?.lua;;" LUA_CPATH="$top/build/${BUILD_PREFIX:-}$lua/?.so;;" \
    exec ${RUNNER:-} "$lua" "$@"
}

# The line that is read by whoever waits, then what went wrong.
run_file() { # job lua file
  began=$(date +%s)
  (FPG_TEST_JOB=$1 FPG_TEST_COUNTS=$dir/counts.$1 FPG_TEST_PENDING=$dir/pending/$1 SPEC=$3 run_lua "$2" spec/support/run.lua) \
    >"$dir/out.$1" 2>&1 </dev/null 3>&- 4>&-
  code=$?
  p=0 f=0 n=0
  # shellcheck disable=SC2034 # the rest of the line
  [ ! -f "$dir/counts.$1" ] || read -r p f n <"$dir/counts.$1"
  if [ ! -f "$dir/counts.$1" ]; then
    echo "the run ended early (exit code $code)" >>"$dir/out.$1"
    f=1
  elif [ $code -ne 0 ] && [ "$f" = 0 ]; then
    echo "exit code $code after the last test" >>"$dir/out.$1"
    f=1
  fi
  took=$(($(date +%s) - began))
  echo "$p $f $took $2 $3" >"$dir/result.$1"
  mark=ok
  [ "$f" = 0 ] || mark=FAILED
  {
    printf '%-7s %-6s %-32s %4d passed%s%s  %d s\n' "$2" $mark "$3" "$p" "$([ "$f" = 0 ] || echo ", $f failed")" \
      "$([ "${n:-0}" = 0 ] || echo ", $n not run here")" "$took"
    sed 's/^/    /' "$dir/out.$1"
  } >"$dir/shown.$1"
  mv "$dir/shown.$1" "$dir/done/$1"
}

# ---- workers ----------------------------------------------------------------------------------

# Sets job, lua and file to the next in the queue.
take() {
  for entry in "$dir"/queue/*; do
    job=${entry##*/}
    if [ -e "$entry" ] && mv "$entry" "$dir/taken.$job" 2>/dev/null; then
      read -r lua file <"$dir/taken.$job"
      return 0
    fi
  done
  return 1
}

work() { # number, a Lua for the server
  mkfifo "$dir/hold.$1"
  (run_lua "$2" spec/support/server.lua) <"$dir/hold.$1" >"$dir/server.$1" 2>&1 &
  exec 3>"$dir/hold.$1" # the server ends when this end of it does
  tries=0
  until grep -q '|' "$dir/server.$1" 2>/dev/null || [ $tries -gt 1200 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  FPG_TEST_SERVER=$(cat "$dir/server.$1")
  export FPG_TEST_SERVER
  while take; do run_file "$job" "$lua" "$file"; done
  exec 3>&-
  wait
}

files() {
  for path in ${SPEC:-spec}; do
    if [ -d "$path" ]; then find "$path" -name '*_spec.lua'; else echo "$path"; fi
  done
}

# A file that was never timed may be a long one.
seconds_of() {
  awk -v l="$1" -v f="$2" '$2 == l && $3 == f { s = $1 } END { print s == "" ? 60 : s }' "$times" 2>/dev/null || echo 60
}

mkdir -p build
all=$(for lua; do for file in $(files); do echo "$(seconds_of "$lua" "$file") $lua $file"; done; done | sort -rn | cut -d' ' -f2-)
total=0
while read -r line; do
  [ -n "$line" ] || continue
  total=$((total + 1))
  echo "$line" >"$dir/queue/$(printf '%04d' $total)"
done <<END
$all
END

jobs=${JOBS:-$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)}
[ "$jobs" -le "$total" ] || jobs=$total
number=0
while [ $number -lt "$jobs" ]; do
  number=$((number + 1))
  work $number "$1" &
  workers="$workers $!"
done

# ---- watching ---------------------------------------------------------------------------------

# Something is to be seen every ten seconds.
quiet=0 shown=0
while [ $shown -lt $total ]; do
  alive=no
  for pid in $workers; do if kill -0 "$pid" 2>/dev/null; then alive=yes; fi; done
  for entry in "$dir"/done/*; do
    [ -e "$entry" ] || continue
    cat "$entry"
    rm -f "$entry"
    shown=$((shown + 1)) quiet=0
  done
  if [ $alive = no ] && ! ls "$dir"/done/* >/dev/null 2>&1; then break; fi
  [ $shown -lt $total ] || break
  quiet=$((quiet + 1))
  if [ $quiet -ge 50 ]; then
    echo "        … $shown of $total files"
    quiet=0
  fi
  sleep 0.2
done
workers=
wait

# ---- adding up --------------------------------------------------------------------------------

cat "$dir"/result.* 2>/dev/null | awk '{ print $3, $4, $5 }' >"$dir/times"
awk 'NR == FNR { new[$2 " " $3] = 1; print; next } !(($2 " " $3) in new)' "$dir/times" "$times" 2>/dev/null >"$dir/all-times" ||
  cp "$dir/times" "$dir/all-times"
mv "$dir/all-times" "$times"

cat "$dir"/pending/* 2>/dev/null | sort | uniq -c | sort -rn | sed 's/^ *\([0-9]*\) /  \1 × /' >"$dir/not-run"
if [ -s "$dir/not-run" ]; then
  echo "not run here:"
  cat "$dir/not-run"
fi
failed=$((total - shown))
[ $failed -eq 0 ] || echo "$failed files were not run"
for lua; do
  counts=$(cat "$dir"/result.* 2>/dev/null | awk -v l="$lua" '$4 == l { p += $1; f += $2 } END { print p + 0, f + 0 }')
  echo "$lua: ${counts% *} passed, ${counts#* } failed"
  if [ "$counts" = "0 0" ]; then echo "$lua: no test ran"; failed=$((failed + 1)); fi
done
counts=$(cat "$dir"/result.* 2>/dev/null | awk '{ p += $1; f += $2 } END { print p + 0, f + 0 }')
passed=${counts% *} failed=$((failed + ${counts#* }))
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ "$passed" -gt 0 ]
