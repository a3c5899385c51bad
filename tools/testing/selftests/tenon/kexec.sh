#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# kexec.sh MODULE TESTS: inside the test bed, another kernel is started under a VM that runs, and finds the processors as
# the firmware left them: with virtualization still on, the module would refuse its first VM.
. "$(dirname "$0")/common.sh"
if [ -z "$TENON_BED_AGAIN" ]; then
	insmod "$ko"
	hold
	ok $? "a VM runs in the first kernel"
	"$tests/vms" kexec "$TENON_BED_VMLINUZ" "$TENON_BED_INITRD"
	ok 1 "the second kernel is started"
	finish
fi
n=1
ok 0 "the second kernel is started"
insmod "$ko" && "$tests/vms" race 4 1 >/dev/null
ok $? "VMs on both CPUs in the second kernel"
rmmod tenon
finish
