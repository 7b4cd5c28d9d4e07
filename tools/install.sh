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
    echo "  installed $2/fastpg/*.lua"
    echo "            $3/fastpg/core.so"
    ;;
  uninstall)
    rm -rf "$2/fastpg" "$3/fastpg/core.so"
    # and the folders that this leaves empty, up to the prefix's lib/ and share/
    rmdir "$3/fastpg" 2>/dev/null || :
    for dir in "$3" "$2"; do
      rmdir "$dir" 2>/dev/null && rmdir "${dir%/*}" 2>/dev/null && rmdir "${dir%/*/*}" 2>/dev/null || :
    done
    echo "  removed $2/fastpg and $3/fastpg"
    ;;
esac
