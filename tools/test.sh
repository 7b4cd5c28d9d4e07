#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh: runs the specs on each Lua named, adds up, and ends with the line "N passed, N failed".
#
#   tools/test.sh lua5.4 luajit
#
#   SPEC=spec/x_spec.lua   only this file or folder      FILTER=pattern   only tests whose name matches
#   JOBS=2                 so many files side by side (default: one for each core)
#   AGAIN=1                a file that failed beside others runs once more, alone
# Specs that run a Lua of their own start it by the command $FPG_TEST_LUA.
#
#   BUILD_PREFIX=asan-     the .so of build/asan-lua5.4  RUNNER="valgrind ..."   put before the interpreter
#
# Each file is a process of its own.  Workers take the files from a queue (a folder: who renames a file has it),
# the longest first, and each has a server of its own for all of its files, so that what one file does to its
# server is seen by no file beside it.  A line comes for each file as it ends.
#
# Fails on a failure, on an error outside a test, when a Lua crashes, and when no test ran.
#
# With AGAIN=1 (CI's machines are shared and stall), each file with a failed test runs once more when all others have
# ended, alone.  Both outcomes are printed.  Where every test passes then, the file counts as passed, and its tests that
# failed beside others are named as unsteady: they depend on how busy the machine is, and are to be mended.  A crash
# stays one: no busy machine makes a Lua crash.  The names of all tests that failed are printed last, above the sums.

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
mkdir "$dir/queue" "$dir/done" "$dir/pending" "$dir/failed" "$dir/crashed"
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

# The line that is read by whoever waits, then what went wrong.  The second run of job 0007 is 0007a.
run_file() { # job lua file
  began=$(date +%s)
  (FPG_TEST_JOB=$1 FPG_TEST_COUNTS=$dir/counts.$1 FPG_TEST_PENDING=$dir/pending/$1 FPG_TEST_FAILED=$dir/failed/$1 SPEC=$3 run_lua "$2" spec/support/run.lua) \
    >"$dir/out.$1" 2>&1 </dev/null 3>&- 4>&-
  code=$?
  p=0 f=0 n=0
  # shellcheck disable=SC2034 # the rest of the line
  [ ! -f "$dir/counts.$1" ] || read -r p f n <"$dir/counts.$1"
  if [ ! -f "$dir/counts.$1" ]; then
    crashed "$1" "$2" "$3" "the run ended early (exit code $code)"
  elif [ $code -ne 0 ] && [ "$f" = 0 ]; then
    crashed "$1" "$2" "$3" "exit code $code after the last test"
  fi
  took=$(($(date +%s) - began))
  echo "$p $f $took $2 $3 ${1%a}" >"$dir/result.$1"
  mark=ok
  [ "$f" = 0 ] || mark=FAILED
  {
    printf '%-7s %-6s %-32s %4d passed%s%s%s  %d s\n' "$2" $mark "$3" "$p" "$([ "$f" = 0 ] || echo ", $f failed")" \
      "$([ "${n:-0}" = 0 ] || echo ", $n not run here")" "$([ "$1" = "${1%a}" ] || echo ", once more, alone")" "$took"
    sed 's/^/    /' "$dir/out.$1"
  } >"$dir/shown.$1"
  mv "$dir/shown.$1" "$dir/done/$1"
}

crashed() { # job lua file what
  echo "$4" >>"$dir/out.$1"
  echo "$2 $3: $4" >>"$dir/failed/$1"
  touch "$dir/crashed/${1%a}"
  f=1
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
  FPG_TEST_SERVER=$(tail -n 1 "$dir/server.$1")
  FPG_TEST_TEMPLATE=$(head -n 1 "$dir/server.$1")
  export FPG_TEST_SERVER FPG_TEST_TEMPLATE
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

# ---- watching ---------------------------------------------------------------------------------

# Shows what the workers have done, until so many files are through or no worker lives.  Something is to be seen
# every ten seconds.  Sets shown.
watch() { # total
  quiet=0 shown=0
  while [ $shown -lt "$1" ]; do
    alive=no
    for pid in $workers; do if kill -0 "$pid" 2>/dev/null; then alive=yes; fi; done
    for entry in "$dir"/done/*; do
      [ -e "$entry" ] || continue
      cat "$entry"
      rm -f "$entry"
      shown=$((shown + 1)) quiet=0
    done
    if [ $alive = no ] && ! ls "$dir"/done/* >/dev/null 2>&1; then break; fi
    [ $shown -lt "$1" ] || break
    quiet=$((quiet + 1))
    if [ $quiet -ge 50 ]; then
      echo "        … $shown of $1 files"
      quiet=0
    fi
    sleep 0.2
  done
  workers=
  wait
}

jobs=${JOBS:-$(nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)}
[ "$jobs" -le "$total" ] || jobs=$total
number=0
while [ $number -lt "$jobs" ]; do
  number=$((number + 1))
  work $number "$1" &
  workers="$workers $!"
done
watch $total
failed=$((total - shown))

# ---- once more ---------------------------------------------------------------------------------

if [ "${AGAIN:-}" = 1 ]; then
  again=0
  for result in "$dir"/result.*; do
    [ -e "$result" ] || continue
    read -r p f took lua file job <"$result"
    if [ "$f" = 0 ] || [ -e "$dir/crashed/$job" ]; then continue; fi
    again=$((again + 1))
    echo "$lua $file" >"$dir/queue/${job}a"
  done
  if [ $again -gt 0 ]; then
    work again "$1" &
    workers=$!
    watch $again
  fi
fi

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
[ $failed -eq 0 ] || echo "$failed files were not run"

# The failures of a file that passed alone, and those that are left.
for names in "$dir"/failed/*; do
  [ -s "$names" ] || continue
  job=${names##*/}
  if [ "$job" = "${job%a}" ] && [ -e "$dir/result.${job}a" ] && [ ! -e "$dir/failed/${job}a" ]; then
    cat "$names" >>"$dir/unsteady"
  else
    cat "$names" >>"$dir/all-failed"
  fi
done
named() { # title file
  [ -s "$2" ] || return 0
  echo "$1"
  sort -u "$2" | sed 's/^/  /'
}
named "unsteady: failed beside others, passed alone" "$dir/unsteady"
named "failed:" "$dir/all-failed"

# passed and failed, of one Lua or of all: the last run of each file counts.
counts_of() {
  cat "$dir"/result.* 2>/dev/null |
    awk -v l="$1" 'l == "" || $4 == l { p[$6] = $1; f[$6] = $2 } END { for (k in p) { P += p[k]; F += f[k] } print P + 0, F + 0 }'
}
for lua; do
  counts=$(counts_of "$lua")
  echo "$lua: ${counts% *} passed, ${counts#* } failed"
  if [ "$counts" = "0 0" ]; then echo "$lua: no test ran"; failed=$((failed + 1)); fi
done
counts=$(counts_of "")
passed=${counts% *} failed=$((failed + ${counts#* }))
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ "$passed" -gt 0 ]
