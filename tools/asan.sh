#!/bin/sh
# SPDX-License-Identifier: MIT
#
# asan.sh LUA ARGUMENT...: runs an interpreter that was not built with the sanitizers. What it runs
# in turn (psql, the server) must not get their libraries: a third one takes them out of the
# environment as it starts.

cd "$(dirname "$0")/.." || exit 1
clean=$PWD/build/asan-clean.so
if [ ! -f "$clean" ]; then
  mkdir -p build
  printf '%s\n' '#include <stdlib.h>' \
    '__attribute__((constructor)) static void clean(void) { unsetenv("LD_PRELOAD"); }' |
    "${CC:-cc}" -shared -fPIC -x c - -o "$clean" || exit 1
fi
library() { "${CC:-cc}" -print-file-name="$1"; }
case $1 in luajit*) leaks=0 ;; *) leaks=1 ;; esac
export ASAN_OPTIONS="detect_leaks=$leaks:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
LD_PRELOAD="$(library libasan.so):$(library libubsan.so):$clean" exec "$@"
