# SPDX-License-Identifier: MIT
#
# peer.py: what the contestants written in Python have in common; peer.lua says what a contestant is.

import asyncio
import gc
import math
import os
import sys
import time

M = 2**32
READ = {"i": int, "f": float, "s": str, "b": lambda text: text == "true"}


def columns_of(text):
    return [tuple(word.rsplit(":", 1)) for word in text.split(",")] if text else []


def values_of(text):
    return [READ[word[0]](word[2:]) for word in text.split(",")] if text else []


def cases(path, orders):
    counts = {name: int(count) for name, count in (order.rsplit("=", 1) for order in orders)}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            case = dict(field.split("=", 1) for field in line.rstrip("\n").split("\t"))
            if orders and case["name"] not in counts:
                continue
            case["count"] = counts.get(case["name"], int(case["count"]))
            case["n"], case["tasks"] = int(case.get("n", 0)), int(case.get("tasks", 0))
            case["args"], case["columns"] = values_of(case.get("args")), columns_of(case.get("cols"))
            yield case


# ---- rows -------------------------------------------------------------------------------------


def row_reader(columns):
    """A function that reads every field of a row by name, as a program would write it down."""
    lines = ["def read(r):"] + [f"    r[{name!r}]" for name, _ in columns] + ["    return"]
    space = {}
    exec("\n".join(lines), space)
    return space["read"]


def reader(columns):
    lines = ["def read(rows):", "    for r in rows:"] + [f"        r[{name!r}]" for name, _ in columns]
    lines += ["        pass", "    return len(rows)"]
    space = {}
    exec("\n".join(lines), space)
    return space["read"]


def add(h, v):
    if v is None:
        v = 1
    elif isinstance(v, bool):
        v = 2 if v else 3
    elif isinstance(v, (str, bytes, memoryview)):
        s = 7
        for byte in v.encode() if isinstance(v, str) else v:
            s = (s * 31 + byte) % M
        v = s
    elif isinstance(v, (list, tuple)):
        for item in v:
            h = add(h, item)
        return h
    elif v != math.floor(v):
        v = math.floor(v * 1000 + 0.5)
    return int(h * 31 + v) % M


def add_row(h, row, columns):
    for name, _ in columns:
        h = add(h, row[name])
    return h


def sum_rows(rows, columns):
    h = 0
    for row in rows:
        h = add_row(h, row, columns)
    return h


# ---- records that are written -------------------------------------------------------------------

COLUMNS = ["a", "b", "c", "d", "e", "f", "g"]


def record():
    return (10, 11, 10, "TESTTESTTEST", 10.333, 12341234, "123412341234")


def records(n):
    return [tuple(list(record())) for _ in range(n)]  # each one of its own


def lines(n):
    return "10\t11\t10\tTESTTESTTEST\t10.333\t12341234\t123412341234\n" * n


# ---- memory -----------------------------------------------------------------------------------


def resident():
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * 4096


class Held:
    """A kind: how many bytes a row takes while the program holds the rows; main prints them where others have µs."""

    def __init__(self, fetch, columns):
        self.fetch, self.columns = fetch, columns

    async def once(self):
        gc.collect()
        before = resident()
        self.rows = await self.fetch()
        gc.collect()
        self.bytes = (resident() - before) / len(self.rows)
        return len(self.rows)

    async def total(self):
        return sum_rows(self.rows, self.columns)

    def kind(self, contestant):
        contestant.held = self
        return self.once, self.total


# ---- running ----------------------------------------------------------------------------------------


async def repeated(once, count):
    for _ in range(count):
        await once()


async def together(once, tasks, count):
    tasks = min(tasks, count)
    await asyncio.gather(*(repeated(once, len(range(i, count, tasks))) for i in range(tasks)))


async def main(contestant):
    """Runs what the command line names. contestant.kind(case) gives once and sum, or None; see peer.lua."""
    for case in cases(sys.argv[2], sys.argv[3:]):
        found = await contestant.kind(case)
        if not found:
            print(f"{case['name']}\tskip")
            continue
        once, total = found
        if "before" in case:
            await contestant.execute(case["before"])
        rows = await once()
        if "BENCH_UNCHECKED" in os.environ:
            checksum = "-"
        elif total:
            checksum = await total()
        elif "check" in case:
            checksum = sum_rows(await contestant.fetch(case["check"]), columns_of(case["check_cols"]))
        else:
            checksum = 0
        count = case["count"]

        async def run(count, tasks=case["tasks"], once=once):
            await (together(once, tasks, count) if tasks else repeated(once, count))

        if count >= 3 and case["kind"] not in ("load", "held"):  # each connection has prepared the statement
            await run(max(count // 10, min(count, 100), 2 * case["tasks"]))
        if "before" in case:
            await contestant.execute(case["before"])
        gc.collect()
        if case["kind"] == "load":
            cpu, wall = contestant.loading * count, 0
        elif case["kind"] == "held":
            cpu, wall = contestant.held.bytes * count / 1e6, 0
        else:
            cpu, wall = time.process_time(), time.perf_counter()
            await run(count)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(f"{case['name']}\t{cpu * 1e6 / count:.3f}\t{wall * 1e6 / count:.3f}\t{checksum}\t{rows or 0}")
