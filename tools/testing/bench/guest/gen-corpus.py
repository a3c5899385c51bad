# SPDX-License-Identifier: GPL-2.0-only
"""gen-corpus.py MIB: text-like data on standard output, the same each time: words, numbers, some binary."""
import random
import sys

R = random.Random(3)
size = int(sys.argv[1]) << 20
out = bytearray()
words = ["".join(R.choice("etaoinshrdlucmfwypvbgk") for _ in range(R.randrange(2, 10))) for _ in range(3000)]
weights = [1 / (i + 3) for i in range(3000)]
while len(out) < size:
    for w in R.choices(words, weights, k=400):
        out += w.encode() + b" "
    if R.random() < .3:
        line = "%d,%x,%f\n" % (R.randrange(10**6), R.randrange(10**9), R.random() * 100)
        out += line.encode() * R.randrange(1, 5)
    if R.random() < .05:
        out += R.randbytes(300)
sys.stdout.buffer.write(out[:size])
