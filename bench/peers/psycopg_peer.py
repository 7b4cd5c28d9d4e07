# SPDX-License-Identifier: MIT
#
# psycopg_peer.py: the cases in psycopg 3, blocking: prepared statements, binary results, rows as dictionaries.
#
#   python3 bench/peers/psycopg_peer.py URI CASES [name=count ...]        see peer.lua
#
# PSYCOPG_IMPL=c or binary chooses its compiled half where it is installed; Debian has only the one in Python.

import time

began = time.process_time()
import psycopg  # noqa: E402

loading = time.process_time() - began

import asyncio  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402

from psycopg.rows import dict_row  # noqa: E402

import peer  # noqa: E402


def placeholders(sql):
    return re.sub(r"\$\d+", "%s", sql.replace("%", "%%")) if "$" in sql else sql


class Contestant:
    name, loading = "psycopg", loading

    def __init__(self, uri):
        self.uri = uri
        self.db = psycopg.connect(uri, autocommit=True, row_factory=dict_row)
        self.db.prepare_threshold = 0

    def cursor(self):
        return self.db.cursor(binary=True)

    async def execute(self, sql):
        self.db.execute(sql)

    async def fetch(self, sql):
        return self.db.execute(sql).fetchall()

    async def kind(self, case):
        make = getattr(self, "kind_" + case["kind"], None)
        return make(case) if make and not case["tasks"] else None

    def kind_rows(self, case):
        sql, args, columns = placeholders(case["sql"]), case["args"] or None, case["columns"]
        read = peer.reader(columns)

        async def once():
            return read(self.cursor().execute(sql, args).fetchall())

        async def total():
            return peer.sum_rows(self.cursor().execute(sql, args).fetchall(), columns)

        return once, total

    def kind_held(self, case):
        async def fetch():
            return self.cursor().execute(case["sql"]).fetchall()

        return peer.Held(fetch, case["columns"]).kind(self)

    def kind_stream(self, case):
        read, columns = peer.row_reader(case["columns"]), case["columns"]

        async def once():
            n = 0
            for row in self.cursor().stream(case["sql"]):
                read(row)
                n += 1
            return n

        async def total():
            h = 0
            for row in self.cursor().stream(case["sql"]):
                h = peer.add_row(h, row, columns)
            return h

        return once, total

    def kind_execute(self, case):
        async def once():
            self.db.execute(case["sql"])

        return once, None

    def kind_copy(self, case):
        n = case["n"]
        records = None if case.get("source") == "iterator" else peer.records(n)

        async def once():
            with self.db.cursor() as cursor, cursor.copy("COPY record FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "int4", "int4", "text", "float8", "int4", "text"])
                for row in records or (peer.record() for _ in range(n)):
                    copy.write_row(row)
            return n

        return once, None

    def kind_copytext(self, case):
        data = peer.lines(case["n"]).encode()

        async def once():
            with self.db.cursor() as cursor, cursor.copy("COPY record FROM STDIN") as copy:
                copy.write(data)
            return case["n"]

        return once, None

    def kind_batch(self, case):
        records, sql = peer.records(case["n"]), placeholders(case["sql"])

        async def once():
            with self.db.transaction(), self.db.cursor() as cursor:
                cursor.executemany(sql, records)
            return case["n"]

        return once, None

    def kind_connect(self, case):
        async def once():
            psycopg.connect(self.uri).close()

        return once, None

    def kind_load(self, case):
        async def once():
            pass

        return once, None


asyncio.run(peer.main(Contestant(sys.argv[1])))
