#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The module in the test bed: its own tests on both kernels, what it refuses, and Debian's QEMU on it.
# Wants `make modules`, `make modules KERNEL=6.12` and `make selftests` before.

setup_file()
{
	cd "$BATS_TEST_DIRNAME/../../.."
	export O=${O:-build}
	case $O in /*) ;; *) O=$PWD/$O ;; esac
	command -v qemu-system-x86_64 >/dev/null || skip "qemu-system-x86 is not installed"
	[ -e "$O/modules/generic/tenon.ko" ] || skip "make modules comes first"
}

setup()
{
	cd "$BATS_TEST_DIRNAME/../../.."
}

bed()
{
	run scripts/testbed --timeout 240 "$@"
	echo "$output"
}

in_bed()
{
	bed "$@"
	[ "$status" = 0 ]
}

@test "module: selftests, 6.1" {
	in_bed --smp 2 -- sh -c "insmod $O/modules/generic/tenon.ko && tools/testing/selftests/tenon/run $O/selftests"
	! grep '^not ok' <<<"$output"
}

@test "module: selftests, 6.1, with the kernel's mitigations" {
	in_bed --smp 2 --mitigations -- sh -c "insmod $O/modules/generic/tenon.ko && tools/testing/selftests/tenon/run $O/selftests"
}

@test "module: selftests, 6.12" {
	[ -e "$O/modules/6.12/tenon.ko" ] || skip "make modules KERNEL=6.12 comes first"
	in_bed --kernel 6.12 --smp 2 -- sh -c "insmod $O/modules/6.12/tenon.ko && tools/testing/selftests/tenon/run $O/selftests"
}

@test "module: comes and goes; second load, permission, kvm_amd, CPU hotplug" {
	in_bed --smp 2 -- tools/testing/selftests/tenon/life.sh "$O/modules/generic/tenon.ko" "$O/selftests"
	! grep '^not ok' <<<"$output"
}

@test "module: refuses a processor without AMD-V" {
	bed --cpu Opteron_G3,svm=off -- sh -c "insmod $O/modules/generic/tenon.ko; dmesg | grep tenon:"
	grep -q 'offers no AMD-V' <<<"$output"
}

@test "module: refuses a processor without nested paging" {
	bed --cpu Opteron_G3 -- sh -c "insmod $O/modules/generic/tenon.ko; dmesg | grep tenon:"
	grep -q 'AMD-V without nested paging' <<<"$output"
}
