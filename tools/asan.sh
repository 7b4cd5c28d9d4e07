#!/bin/sh
# SPDX-License-Identifier: MIT
#
# asan.sh LUA ARGUMENT...: runs an interpreter that was not built with the sanitizers.

libs=$("${CC:-cc}" -print-file-name=libasan.so):$("${CC:-cc}" -print-file-name=libubsan.so)
case $1 in luajit*) leaks=0 ;; *) leaks=1 ;; esac
export ASAN_OPTIONS="detect_leaks=$leaks:abort_on_error=0:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
LD_PRELOAD=$libs exec "$@"
