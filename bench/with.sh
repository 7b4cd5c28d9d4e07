#!/bin/sh
# SPDX-License-Identifier: MIT
#
# with.sh LUA ARGUMENT...: runs that Lua with the paths of this checkout's build for it.

eval "$(make -s env LUA="$1")" && exec "$@"
