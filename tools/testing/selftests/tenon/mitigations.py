#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Finds each mitigation that Documentation/mitigations.rst names in a built tenon.ko. TAP.

    mitigations.py MITIGATIONS.RST KERNEL TENON.KO CPUFEATURES.H

The kernel patches alternatives in by feature bit: an entry of .altinstructions names the instruction and the bit. The
oracle is the table and the kernel's own list of bits (asm/cpufeatures.h): for each bit of the table there has to be an
entry in the function that the row names as its place, for the kernels that it names.
"""
import re
import struct
import sys


class Elf:
    """As much of ELF64, little-endian, relocatable, as is needed here (System V ABI, "Object Files")."""

    def __init__(self, path):
        self.data = open(path, "rb").read()
        shoff, = struct.unpack_from("<Q", self.data, 0x28)
        size, count, names = struct.unpack_from("<HHH", self.data, 0x3a)
        keys = ("name", "type", "flags", "addr", "offset", "size", "link", "info", "align", "entsize")
        self.sections = [dict(zip(keys, struct.unpack_from("<IIQQQQIIQQ", self.data, shoff + n * size)))
                         for n in range(count)]
        for s in self.sections:
            s["name"] = self.string(self.sections[names]["offset"] + s["name"])
        self.symbols = []
        for s in self.sections:
            if s["type"] == 2:
                for at in range(s["offset"], s["offset"] + s["size"], 24):
                    name, info, _, section, value, length = struct.unpack_from("<IBBHQQ", self.data, at)
                    self.symbols.append((self.string(self.sections[s["link"]]["offset"] + name), info & 15, section,
                                         value, length))

    def string(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()

    def section(self, name):
        return next((s for s in self.sections if s["name"] == name), None)

    def function(self, section, offset):
        """Of the functions of a section the one that covers an offset."""
        for name, kind, where, value, length in self.symbols:
            if kind == 2 and where == section and value <= offset < value + length:
                return name
        return None


def alternatives(elf):
    """(function, bit) for each entry: 12 bytes, and 14 since flags have a field of their own."""
    alt, rela = elf.section(".altinstructions"), elf.section(".rela.altinstructions")
    places = {}
    for at in range(rela["offset"], rela["offset"] + rela["size"], 24):
        offset, info, addend = struct.unpack_from("<QQq", elf.data, at)
        _, _, section, value, _ = elf.symbols[info >> 32]
        places[offset] = (section, value + addend)
    starts = sorted(places)[::2]
    size = starts[1] - starts[0]
    if size not in (12, 14) or alt["size"] % size or len(starts) != alt["size"] // size:
        sys.exit(f"entries of .altinstructions of {size} bytes are unknown here")
    for start in starts:
        bit, = struct.unpack_from("<H", elf.data, alt["offset"] + start + 8)
        yield elf.function(*places[start]), bit & 0x7fff


def main():
    rst, kernel, ko, features = sys.argv[1:]
    text = open(features).read()
    number = r"\(\s*(?:(\d+)\s*\*\s*32\s*\+)?\s*(\d+)\s*\)"
    bits = {m[1]: int(m[2]) * 32 + int(m[3]) for m in re.finditer(rf"#define\s+X86_FEATURE_(\w+)\s+{number}", text)
            if m[2]}
    # Bugs follow the features.
    words = int(re.search(r"#define\s+NCAPINTS\s+(\d+)", text)[1])
    bits |= {m[1]: (words + int(m[2] or 0)) * 32 + int(m[3])
             for m in re.finditer(rf"#define\s+X86_(BUG_\w+)\s+X86_BUG{number}", text)}
    found = {}
    for function, bit in alternatives(Elf(ko)):
        found.setdefault(bit, set()).add(function)
    table = [(m[1], m[3]) for m in re.finditer(r"^``(\w+)``\s+(\S+) .*?``(\w+)\(\)``$", open(rst).read(), re.M)
             if m[2] in ("both", kernel)]
    if not table:
        sys.exit(f"{rst} has no table of feature bits")
    print(f"TAP version 13\n1..{len(table)}")
    bad = False
    for n, (name, place) in enumerate(table, 1):
        places = {f or "?" for f in found.get(bits.get(name), ())}
        ok = place in places
        bad |= not ok
        print(f"{'' if ok else 'not '}ok {n} - {name} in {place}()")
        if not ok:
            print(f"#   .altinstructions has it in: {', '.join(sorted(places)) or 'no function'}")
    sys.exit(bad)


if __name__ == "__main__":
    main()
