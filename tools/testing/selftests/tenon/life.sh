#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# life.sh MODULE TESTS: inside the test bed, the module comes and goes, and its users are killed. TAP.
ko=${1:?tenon.ko} tests=${2:?directory of the built tests}
n=0
ok()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}
echo "TAP version 13"
bad=0
for i in $(seq "${LOOPS:-10}"); do
	insmod "$ko" || bad=1
	"$tests/basic" "a signal ends KVM_RUN in a guest that spins, and in one that is halted" >/dev/null &
	p=$!
	sleep 0.1
	kill -9 $p
	wait $p 2>/dev/null
	rmmod tenon || { sleep 0.5; rmmod tenon || bad=1; }
done
ok $bad "loaded and unloaded ${LOOPS:-10} times, a VM killed in between"
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
if modprobe -d "$TENON_BED_MODULES" kvm_amd 2>/dev/null; then
	if [ "$TENON_BED_KERNEL" = 6.12 ]; then
		"$tests/basic" "a guest in real mode halts" | grep -q 'not ok'
		ok $? "KVM_CREATE_VM fails while an idle kvm_amd of 6.12 holds the processors"
	else
		# KVM takes the processors with its first VM.
		(TENON_DEV=/dev/kvm exec "$tests/basic" "a signal ends KVM_RUN in a guest that spins, and in one that is halted" >/dev/null) &
		p=$!
		sleep 0.4
		"$tests/basic" "a guest in real mode halts" | grep -q 'not ok'
		ok $? "KVM_CREATE_VM fails while KVM runs a VM"
		kill -9 $p
		wait $p 2>/dev/null
	fi
	dmesg | grep -A 1 'tenon: virtualization is in use' | grep -q 'modprobe -r kvm_amd'
	ok $? "and the kernel log says who and what to do"
	sleep 0.5
	modprobe -r -d "$TENON_BED_MODULES" kvm_amd
	"$tests/basic" "a guest in real mode halts" | grep -q '^ok'
	ok $? "after modprobe -r kvm_amd it works"
fi
if [ -w /sys/devices/system/cpu/cpu1/online ]; then
	"$tests/basic" "a signal ends KVM_RUN in a guest that spins, and in one that is halted" >/run/hot 2>&1 &
	p=$!
	bad=0
	for i in $(seq "${HOTPLUG:-5}"); do
		echo 0 >/sys/devices/system/cpu/cpu1/online || bad=1
		echo 1 >/sys/devices/system/cpu/cpu1/online || bad=1
	done
	wait $p || bad=1
	grep -q '^ok' /run/hot || bad=1
	ok $bad "CPU 1 goes off and on ${HOTPLUG:-5} times under a running VM"
fi
rmmod tenon
ok $? "unloaded"
echo "1..$n"
! [ "$bad" = 1 ]
