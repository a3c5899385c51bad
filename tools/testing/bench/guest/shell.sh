#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# shell.sh N: configure-like work: many short processes, pipes, small files
i=0
d=/tmp/sh.$$
mkdir $d
cd $d || exit 1
while [ $i -lt "$1" ]; do
	for f in a b c d; do
		echo "line $i $f" >$f
	done
	cat a b c d | sed 's/line/LINE/' | sort -r | head -n 3 | tr a-z A-Z >out
	x=$(expr $i + 1)
	y=$(basename /usr/lib/foo.so .so)
	z=$(grep -c LINE out)
	ls -l / >list
	wc -l <list >n
	cp out out2
	cmp out out2 || exit 1
	rm -f out2
	i=$x
done
set -- $(cksum <out)
cd /
rm -rf $d
echo "CHECK $1-$y$z"
