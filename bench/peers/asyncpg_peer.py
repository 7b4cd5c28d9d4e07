# SPDX-License-Identifier: MIT
#
# asyncpg_peer.py: the cases in asyncpg, on uvloop's event loop where that is installed.
#
#   python3 bench/peers/asyncpg_peer.py URI CASES [name=count ...]        see peer.lua

import time

began = time.process_time()
import asyncpg  # noqa: E402

loading = time.process_time() - began

import asyncio  # noqa: E402
import io  # noqa: E402
import sys  # noqa: E402

import peer  # noqa: E402

try:
    import uvloop

    uvloop.install()
except ImportError:
    pass


class Contestant:
    name, loading = "asyncpg", loading

    def __init__(self, uri):
        self.uri, self.db, self.pool = uri, None, None

    async def execute(self, sql):
        await self.db.execute(sql)

    async def fetch(self, sql):
        return await self.db.fetch(sql)

    async def kind(self, case):
        db = self.db
        if case["tasks"]:
            if not self.pool:
                self.pool = await asyncpg.create_pool(self.uri, min_size=10, max_size=10)
            db = self.pool
        make = getattr(self, "kind_" + case["kind"], None)
        return make(db, case) if make else None

    def kind_rows(self, db, case):
        sql, args, columns = case["sql"], case["args"], case["columns"]
        read = peer.reader(columns)

        async def once():
            return read(await db.fetch(sql, *args))

        async def total():
            return peer.sum_rows(await db.fetch(sql, *args), columns)

        return once, total

    def kind_held(self, db, case):
        return peer.Held(lambda: db.fetch(case["sql"]), case["columns"]).kind(self)

    def kind_stream(self, db, case):
        read, columns = peer.row_reader(case["columns"]), case["columns"]

        async def once():
            n = 0
            async with db.transaction():
                async for row in db.cursor(case["sql"], prefetch=1000):
                    read(row)
                    n += 1
            return n

        async def total():
            h = 0
            async with db.transaction():
                async for row in db.cursor(case["sql"], prefetch=1000):
                    h = peer.add_row(h, row, columns)
            return h

        return once, total

    def kind_execute(self, db, case):
        async def once():
            await db.execute(case["sql"])

        return once, None

    def kind_copy(self, db, case):
        n = case["n"]
        records = None if case.get("source") == "iterator" else peer.records(n)

        async def once():
            source = records or (peer.record() for _ in range(n))
            await db.copy_records_to_table("record", records=source, columns=peer.COLUMNS)
            return n

        return once, None

    def kind_copytext(self, db, case):
        data = peer.lines(case["n"]).encode()

        async def once():
            await db.copy_to_table("record", source=io.BytesIO(data))
            return case["n"]

        return once, None

    def kind_batch(self, db, case):
        records = peer.records(case["n"])

        async def once():
            await db.executemany(case["sql"], records)
            return case["n"]

        return once, None

    def kind_connect(self, db, case):
        async def once():
            await (await asyncpg.connect(self.uri)).close()

        return once, None

    def kind_load(self, db, case):
        async def once():
            pass

        return once, None


async def main():
    contestant = Contestant(sys.argv[1])
    contestant.db = await asyncpg.connect(sys.argv[1])
    await peer.main(contestant)
    if contestant.pool:
        await contestant.pool.close()
    await contestant.db.close()


asyncio.run(main())
