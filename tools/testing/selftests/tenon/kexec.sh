#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# kexec.sh MODULE TESTS [crash]: inside the test bed, another kernel is started under a VM that runs, by kexec or because the
# first one crashes, and finds the processors as the firmware left them: with virtualization still on, neither the module nor
# kvm_amd would make a VM. For a crash the bed wants memory: --append crashkernel=512M.
. "$(dirname "$0")/common.sh"
if [ -z "$TENON_BED_AGAIN" ]; then
	insmod "$ko"
	hold
	ok $? "a VM runs in the first kernel"
	if [ "$3" = crash ]; then
		"$tests/vms" kdump "$TENON_BED_VMLINUZ" "$TENON_BED_INITRD" && echo c >/proc/sysrq-trigger
	else
		"$tests/vms" kexec "$TENON_BED_VMLINUZ" "$TENON_BED_INITRD"
	fi
	ok 1 "the second kernel is started"
	finish
fi
n=1
ok 0 "the second kernel is started"
insmod "$ko" && "$tests/vms" race 4 1 >/dev/null
ok $? "VMs on all CPUs in the second kernel"
rmmod tenon
modprobe -d "$TENON_BED_MODULES" kvm_amd && TENON_DEV=/dev/kvm works
ok $? "kvm_amd is loaded there, and makes one"
finish
