#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install.sh install LUADIR LIBDIR CORE.SO | install.sh uninstall LUADIR LIBDIR

set -e
cd "$(dirname "$0")/.."

case $1 in
  install)
    (cd lua && find fastpg -name '*.lua') | while IFS= read -r file; do
      install -d "$2/$(dirname "$file")"
      install -m 644 "lua/$file" "$2/$file"
    done
    install -d "$3/fastpg"
    install -m 755 "$4" "$3/fastpg/core.so"
    ;;
  uninstall)
    rm -rf "$2/fastpg" "$3/fastpg/core.so"
    rmdir "$3/fastpg" 2>/dev/null || :
    ;;
esac
