#!/bin/sh
# SPDX-License-Identifier: MIT
#
# versions.sh PYTHON: what is measured here, a line each.

"$1" - <<'END'
from importlib import import_module

for name in "asyncpg", "uvloop", "psycopg":
    try:
        print(name, import_module(name).__version__)
    except ImportError:
        pass
END
echo "libpq $(pkg-config --modversion libpq 2>/dev/null || pg_config --version)"
lua5.4 -v 2>&1 | cut -d' ' -f1,2
luajit -v 2>&1 | cut -d' ' -f1,2
echo "$(nproc) cores"
