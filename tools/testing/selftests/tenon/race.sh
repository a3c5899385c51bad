#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# race.sh MODULE TESTS: inside the test bed, processes make and give up the first and the last VM at once for RACE seconds,
# while CPU 1 goes off and on.
. "$(dirname "$0")/common.sh"
seconds=${RACE:-4}
cpu=/sys/devices/system/cpu/cpu1/online

insmod "$ko"
"$tests/vms" race 5 "$seconds" >/run/race 2>&1
s=$?
sed 's/^/#   /' /run/race
ok $s "the first and the last VM, made and given up by 5 processes at once"

"$tests/vms" race 5 "$seconds" >/run/race 2>&1 &
p=$!
bad=0 times=0
while kill -0 $p 2>/dev/null; do
	echo 0 >$cpu || bad=1
	echo 1 >$cpu || bad=1
	times=$((times + 1))
done
wait $p || bad=1
sed 's/^/#   /' /run/race
ok $bad "the same while CPU 1 goes off and on ($times times)"

hold
bad=$?
for i in $(seq 20); do
	echo 0 >$cpu || bad=1
	echo 1 >$cpu || bad=1
done
kill -0 $held || bad=1
unhold
ok $bad "CPU 1 goes off and on 20 times under a guest that runs"

rmmod tenon 2>/dev/null || { sleep 0.5; rmmod tenon; }
ok $? "unloaded"
# Loaded anew, it would refuse a CPU on which virtualization was left on.
insmod "$ko" && for i in 0 1; do taskset -c $i "$tests/vms" race 1 0.2 >/dev/null || exit 1; done
ok $? "and virtualization was left off on both CPUs"
rmmod tenon
finish
