#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# life.sh MODULE TESTS: inside the test bed, the module comes and goes LOOPS times, and its users are killed; who may
# open and unload it.
. "$(dirname "$0")/common.sh"
loops=${LOOPS:-10}

# Objects in use, a cache a line. Shrinking gives back what CPUs keep for themselves, so that the numbers are exact.
slabs()
{
	local c

	sleep 0.5
	sync
	for c in /sys/kernel/slab/*/shrink; do
		echo 1 >"$c"
	done 2>/dev/null
	awk '/^(kmalloc|mm_struct |pid |filp )/ { print $1, $2 }' /proc/slabinfo
}

# The module comes, a VM in it is killed, and it goes.
round()
{
	insmod "$ko" || return 1
	hold || return 1
	unhold
	# The last file is closed a moment after the process has gone.
	rmmod tenon 2>/dev/null || { sleep 0.5; rmmod tenon; }
}

bad=0
for i in 1 2 3; do round || bad=1; done
sleep 6		# kfree_rcu() keeps objects for up to 5 s
slabs >/run/before
for i in $(seq "$loops"); do round || bad=1; done
ok $bad "loaded and unloaded $loops times, a VM killed in between"
# One object lost each time is $loops; a few come and go with the shell's own doings. What is only on its way to be freed
# is gone after a while.
for i in $(seq 10); do
	slabs >/run/after
	join /run/before /run/after | awk -v most=$((loops / 2)) '
		$3 - $2 > most { print "#   " $1 ": " $2 " objects, then " $3; bad = 1 }
		END { exit bad }' >/run/grown
	bad=$?
	[ $bad != 0 ] || break
	sleep 1
done
cat /run/grown
ok $bad "no cache has grown by an object a time"

insmod "$ko"
insmod "$ko" 2>/dev/null
[ $? != 0 ]
ok $? "a second load is refused"
exec 9<>/dev/tenon
rmmod tenon 2>/dev/null
[ $? != 0 ]
ok $? "unloading is refused while the node is open"
exec 9>&-
setpriv --reuid 65534 --regid 65534 --clear-groups sh -c ": 3<>/dev/tenon" 2>&1 | grep -qi "permission denied"
ok $? "without permission the node does not open"
rmmod tenon
ok $? "unloaded"
finish
