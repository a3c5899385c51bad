#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# cc.sh N: compile the generated C file N times
o=/tmp/cc.$$.o
i=0
while [ $i -lt "$1" ]; do
	gcc -O2 -c /bench/medium.c -o $o || exit 1
	i=$((i + 1))
done
set -- $(cksum <$o)
echo "CHECK $1-$2"
rm -f $o
