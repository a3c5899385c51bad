#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The module in the test bed, a sample: its own tests on both kernels, what it refuses, Debian booted on it.
# Three look at the module from outside: its sources, what it needs of the kernel, and which mitigations are in it.

load module

@test "module: selftests, 6.1, with the kernel's mitigations" {
	selftests generic --mitigations
}

@test "module: selftests, 6.12" {
	selftests 6.12
}

@test "module: selftests, 6.12, as on a processor that needs every mitigation" {
	pretends 6.12 basic spec irq mmio
}

@test "module: random callers, random guests and storms of interrupts, for a minute each, 6.1" {
	TENON_SLOW=${TENON_SLOW:-4} fuzzes generic 60 calls guests storms
}

@test "module: Debian boots by tenon run, and by QEMU on /dev/tenon, 6.1" {
	boots generic tenon:1:kernel tenon:2:split qemu:1:on
}

@test "module: Debian boots by tenon run, and reboots, 6.12" {
	boots 6.12 tenon-reboot:2:kernel
}

@test "module: comes and goes, and leaves nothing; second load, permission" {
	life generic env LOOPS=5
}

@test "module: the first and the last VM in a race, while a CPU goes off and on" {
	in_bed --smp 2 -- env RACE=2 "$tests/race.sh" "$(ko generic)" "$out/selftests"
}

@test "module: kvm_amd before it, after it, and at the same time, 6.12" {
	owners 6.12 env RACE=2
}

@test "module: a machine sleeps under a VM" {
	suspends generic
}

@test "module: another kernel starts by kexec under a VM, and kvm_amd is loaded there" {
	in_bed --smp 2 -- "$tests/kexec.sh" "$(ko generic)" "$out/selftests"
}

@test "module: refuses a processor without AMD-V" {
	refuses generic Opteron_G3,svm=off 'offers no AMD-V'
}

@test "module: refuses a processor without nested paging" {
	refuses generic Opteron_G3 'AMD-V without nested paging'
}

@test "module: checkpatch, sparse and W=1 find nothing, 6.1 and 6.12" {
	make check-style
}

@test "module: each alternative of Documentation/mitigations.rst is in tenon.ko" {
	for kernel in generic 6.12; do
		"$tests/mitigations.py" Documentation/mitigations.rst "${kernel/generic/6.1}" "$(ko $kernel)" \
			"$guests"/$kernel/headers/usr/src/*-common/arch/x86/include/asm/cpufeatures.h
	done
}

@test "module: Documentation/api.rst lists the capabilities that are offered" {
	in_bed -- "$tests/caps.sh" "$(ko generic)" "$out/selftests" Documentation/api.rst \
		"$guests"/generic/headers/usr/src/*-common/include/uapi/linux/kvm.h
}

@test "module: Documentation/kernels.rst lists the symbols that tenon.ko uses" {
	"$tests/symbols.sh" "$(ko generic)" "$(ko 6.12)" Documentation/kernels.rst
}
