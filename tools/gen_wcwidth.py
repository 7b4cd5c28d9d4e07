#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the width tables of lua/fastpg/value/wcwidth.lua between its BEGIN/END GENERATED marks.

    tools/gen_wcwidth.py            rewrite the file
    tools/gen_wcwidth.py --check    exit 1 when the file differs from what would be written

The data is Python's own unicodedata, so nothing is downloaded.  Another Python has another
Unicode version; --check then says so and passes, because the tables can only be compared within
one version.
"""
import os
import re
import sys
import unicodedata

TARGET = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lua/fastpg/value/wcwidth.lua")
BEGIN, END = "-- BEGIN GENERATED\n", "-- END GENERATED\n"
LAST = 0x10FFFF

# Unicode's defaults: code points in these blocks are wide before they are assigned.
WIDE_BLOCKS = [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
               (0x20000, 0x2FFFD), (0x30000, 0x3FFFD)]


def is_zero(cp):
    if cp == 0x00AD:                        # soft hyphen: terminals show it
        return False
    if 0x1160 <= cp <= 0x11FF or 0xD7B0 <= cp <= 0xD7FF:
        return True                         # Hangul vowels and finals join the syllable before
    if cp in (0x2028, 0x2029):
        return True                         # line and paragraph separator
    c = chr(cp)
    if 0x0600 <= cp <= 0x0605 or cp in (0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD):
        return False                        # prepended signs are visible though they are "format"
    return unicodedata.category(c) in ("Mn", "Me", "Cf")


def is_wide(cp):
    if is_zero(cp):
        return False
    if any(lo <= cp <= hi for lo, hi in WIDE_BLOCKS):
        return True
    c = chr(cp)
    if unicodedata.category(c) == "Cn":     # some Pythons answer "F" for what is not assigned
        return False
    return unicodedata.east_asian_width(c) in ("W", "F")


def ranges(test):
    out, start = [], None
    for cp in range(0x300, LAST + 2):
        hit = cp <= LAST and test(cp)
        if hit and start is None:
            start = cp
        elif not hit and start is not None:
            out.append((start, cp - 1))
            start = None
    return out


def lua_string(name, test):
    words = ["%X" % lo if lo == hi else "%X-%X" % (lo, hi) for lo, hi in ranges(test)]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 1 > 98:
            lines.append(line)
            line = ""
        line += (" " if line else "") + word
    lines.append(line)
    return "local %s = [[\n%s\n]]\n" % (name, "\n".join(lines))


def generated():
    return ("-- By tools/gen_wcwidth.py; do not edit.\nwcwidth.unicode_version = \"%s\"\n%s%s"
            % (unicodedata.unidata_version, lua_string("ZERO", is_zero),
               lua_string("WIDE", is_wide)))


def main():
    with open(TARGET, encoding="utf-8") as f:
        old = f.read()
    head, rest = old.split(BEGIN)
    body, tail = rest.split(END)
    new = head + BEGIN + generated() + END + tail
    if "--check" not in sys.argv[1:]:
        with open(TARGET, "w", encoding="utf-8") as f:
            f.write(new)
        return 0
    had = re.search(r'unicode_version = "([^"]*)"', body)
    if had and had.group(1) != unicodedata.unidata_version:
        print("wcwidth.lua has Unicode %s, this Python %s: not compared"
              % (had.group(1), unicodedata.unidata_version))
        return 0
    if new != old:
        print("lua/fastpg/value/wcwidth.lua is stale: run tools/gen_wcwidth.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
