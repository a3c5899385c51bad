#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# owners.sh MODULE TESTS: inside the test bed, the module and kvm_amd want the same processors. Where kvm_amd takes them
# when it is loaded (6.12), it warns twice of what it finds: the caller expects that.
. "$(dirname "$0")/common.sh"
mods=$TENON_BED_MODULES
[ -n "$mods" ] || exit 1
at_load=
[ "$TENON_BED_KERNEL" != 6.12 ] || at_load=1

on_kvm()
{
	TENON_DEV=/dev/kvm "$@"
}

insmod "$ko"
hold
ok $? "a VM of ours runs"
modprobe -d "$mods" kvm_amd 2>/dev/null
s=$?
if [ $at_load ]; then
	[ $s != 0 ]
	ok $? "kvm_amd is not loaded then"
else
	[ $s = 0 ] && ! on_kvm works
	ok $? "kvm_amd is loaded, but makes no VM then"
fi
kill -0 $held
ok $? "our VM runs on"
unhold
modprobe -d "$mods" kvm_amd && on_kvm works
ok $? "KVM works after our last VM"

if [ ! $at_load ]; then
	works
	ok $? "an idle kvm_amd does not keep us from it"
	on_kvm hold
fi
works
[ $? != 0 ]
ok $? "KVM_CREATE_VM fails while KVM has the processors"
dmesg | grep -A 1 'tenon: virtualization is in use' | grep -q 'modprobe -r kvm_amd'
ok $? "and the kernel log says who and what to do"
[ $at_load ] || unhold
modprobe -r -d "$mods" kvm_amd kvm
works
ok $? "after modprobe -r kvm_amd it works"

# The first VM of either takes the processors: one finds them busy as long as the other has any.
modprobe -d "$mods" kvm ${at_load:+enable_virt_at_load=0}
modprobe -d "$mods" kvm_amd
on_kvm "$tests/vms" race 1 "${RACE:-4}" contend >/run/kvm 2>&1 &
p=$!
"$tests/vms" race 1 "${RACE:-4}" contend >/run/ours 2>&1
s=$?
wait $p || s=1
sed 's/^/#   KVM: /' /run/kvm
sed 's/^/#   ours: /' /run/ours
ok $s "both at once, over and over: each makes VMs, and neither in the other's time"
works && on_kvm works
ok $? "after that, each works alone"
modprobe -r -d "$mods" kvm_amd
rmmod tenon
ok $? "unloaded"
finish
