#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# pack.sh MIB: compress the first MIB MiB of the corpus
f=/tmp/pack.$$
dd if=/bench/corpus of=$f bs=1048576 count="$1" 2>/dev/null
gzip -6 -n -c $f >$f.z || exit 1
set -- $(cksum <$f.z)
echo "CHECK $1-$2"
rm -f $f $f.z
