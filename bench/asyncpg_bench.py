# SPDX-License-Identifier: MIT
#
# asyncpg_bench.py: the cases of bench/README.md in asyncpg, on Python's own event loop.
#
#   asyncpg_bench.py URI case=count ...     prints "case cpu_us wall_us"
#
# fetch* on a connection uses asyncpg's cache of prepared statements (on by default).

import asyncio
import sys
import time

import asyncpg


async def select1(db):
    return await db.fetchval("SELECT 1+1")


async def artist(db):
    row = await db.fetchrow("SELECT * FROM artist WHERE artist_id = $1", 1)
    return row["artist_id"], row["name"]


async def ints(db):
    for row in await db.fetch("SELECT i FROM generate_series(1, 1000) i"):
        row["i"]


async def pg_type(db):
    rows = await db.fetch(
        "SELECT oid, typname, typnamespace, typowner, typlen, typbyval, typtype, typcategory, "
        "typispreferred, typisdefined, typdelim, typrelid FROM bench_type"
    )
    for row in rows:
        row["oid"], row["typname"], row["typnamespace"], row["typowner"], row["typlen"], row["typbyval"]
        row["typtype"], row["typcategory"], row["typispreferred"], row["typisdefined"], row["typdelim"]
        row["typrelid"]


CASES = {"select1": select1, "artist": artist, "ints": ints, "pg_type": pg_type}


async def repeat(case, db, count):
    for _ in range(count):
        await case(db)


async def main(uri, *orders):
    db = await asyncpg.connect(uri)
    for order in orders:
        name, count = order.split("=")
        case, count = CASES[name], int(count)
        await repeat(case, db, count // 10 + 1)
        cpu, wall = time.process_time(), time.perf_counter()
        await repeat(case, db, count)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"{name} {cpu * 1e6 / count:.3f} {wall * 1e6 / count:.3f}")
    await db.close()


asyncio.run(main(*sys.argv[1:]))
