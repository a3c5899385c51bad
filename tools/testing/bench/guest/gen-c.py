# SPDX-License-Identifier: GPL-2.0-only
"""Writes a medium-sized C file, the same each time, for the compile benchmark."""
import random

R = random.Random(7)
N = 22
OPS = ["+", "-", "*", "^", "&", "|"]


def expr(depth, names):
    if depth == 0:
        return R.choice(names + [str(R.randrange(1, 999))])
    return f"({expr(depth - 1, names)} {R.choice(OPS)} {expr(depth - 1, names)})"


def statement(names):
    kind = R.randrange(5)
    if kind == 0:
        return (f"\tfor (int i = 0; i < (b & {R.randrange(15, 255)}); i++) {{\n"
                f"\t\tt += {expr(3, names + ['i'])};\n"
                f"\t\ttab[(t + i) & 255] ^= (unsigned){expr(2, names + ['i'])};\n\t}}")
    if kind == 1:
        cases = "".join(f"\tcase {q}: t = {expr(2, names)}; {'break;' if R.random() < .8 else ''}\n" for q in range(8))
        return f"\tswitch ({expr(1, names)} & 7) {{\n{cases}\t}}"
    if kind == 2:
        return (f"\twhile (p && p->next && p->a < t) {{\n\t\tp->d += {R.randrange(1, 99)}.5 * t;\n"
                f"\t\tif (strlen(p->n) > {R.randrange(1, 12)}u) t += ext(t, p);\n\t\tp = p->next;\n\t}}\n"
                "\tif (!p) return t;")
    if kind == 3:
        return (f"\tif ({expr(2, names)} > {expr(1, names)}) t = f{R.randrange(N)}({expr(1, names)}, t, p);\n"
                "\telse snprintf(p->n, sizeof(p->n), \"%d:%x\", t, (unsigned)a);")
    return f"\tp->b = {expr(4, names)};\n\tp->a ^= {expr(3, names)};\n\tt -= p->b;"


print("#include <stdio.h>\n#include <string.h>\n#include <stdlib.h>\n"
      "struct s { int a, b; double d; char n[16]; struct s *next; };\n"
      "extern int ext(int, struct s *);\nstatic unsigned tab[256];")
for i in range(N):
    print(f"int f{i}(int a, int b, struct s *p);")
for i in range(N):
    names = ["a", "b", "t", "p->a", "p->b", "(int)tab[a & 255]"]
    print(f"int f{i}(int a, int b, struct s *p)\n{{\n\tint t = {expr(2, ['a', 'b'])};")
    for _ in range(R.randrange(3, 7)):
        print(statement(names))
    print(f"\treturn t ^ {expr(2, names)};\n}}")
