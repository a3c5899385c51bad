# SPDX-License-Identifier: GPL-2.0-only
"""What Python programs do, N rounds: arithmetic, calls, dict, list, str, objects, exceptions, generators."""
import sys


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def add(self, o):
        return Point(self.x + o.x & 0xffff, self.y ^ o.y)


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def squares(n):
    for i in range(n):
        yield i * i


def one(r):
    h = r
    for i in range(60000):
        h = (h * 31 + i) & 0xffffffff
    h += fib(17)
    d = {}
    for i in range(15000):
        d[f"k{i % 997}"] = d.get(f"k{i % 997}", 0) + i
    h += sum(sorted(d.values())[::7])
    numbers = [(i * 7919) % 1009 for i in range(15000)]
    numbers.sort()
    h += numbers[777] + sum(x for x in squares(15000) if x & 1)
    p, q = Point(1, 2), Point(3, 5)
    for i in range(10000):
        p = p.add(q)
    h += p.x + p.y
    for i in range(5000):
        try:
            if i % 3 == 0:
                raise ValueError(i)
        except ValueError as e:
            h += e.args[0]
    h += len("".join(reversed(" ".join(str(i) for i in range(8000)))).split("9"))
    h += int(sum(i ** 0.5 * 1.25 for i in range(10000)))
    return h & 0xffffffffffff


check = 0
for r in range(int(sys.argv[1])):
    check = (check * 1000003 + one(r)) & 0xffffffffffffffff
print("CHECK %016x" % check)
