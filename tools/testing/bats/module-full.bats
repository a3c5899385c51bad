#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The module in the test bed: what module.bats takes a sample of, and the tests' own oracle.

load module

@test "module: selftests, 6.1, without mitigations" {
	selftests generic
}

@test "module: selftests, 6.12, with the kernel's mitigations" {
	selftests 6.12 --mitigations
}

@test "module: all selftests as on a processor that needs every mitigation, with SSBD in either place, 6.1 and 6.12" {
	for kernel in generic 6.12; do
		pretends $kernel
		pretended=virt_ssbd=1 pretends $kernel
	done
}

@test "module: no feature is offered that a kernel without XSAVE does not have" {
	in_bed --append noxsave -- sh -c "insmod $(ko generic) && $out/selftests/features && rmmod tenon"
	grep -q '^ok' <<<"$output"
}

@test "module: random callers, random guests and storms of interrupts, 6.12, and for ten minutes each on 6.1" {
	fuzzes 6.12 60 calls guests storms
	TENON_SLOW=10 fuzzes generic 600 calls guests storms
}

@test "module: the selftests run in a kernel tree, by its lib.mk" {
	local tree=$out/kernel-tree

	rm -rf "$tree"
	cp -r "$(scripts/kmod-source)" "$tree"
	cp -r "$tests" "$tree/tools/testing/selftests/"
	make -C "$tree/tools/testing/selftests" TARGETS=tenon
	in_bed --smp 2 -- sh -c "insmod $(ko generic) && make -C $tree/tools/testing/selftests TARGETS=tenon run_tests"
	[ "$(grep -c '^ok' <<<"$output")" = "$(ls "$out"/selftests | grep -vcE '^(vms|fuzz)$')" ]
}

@test "module: the kernel's own tests of KVM pass where they pass on kvm_amd, 6.1 and 6.12" {
	local tree=$out/kernel-tree

	rm -rf "$tree"
	cp -r "$(scripts/kmod-source)" "$tree"
	# Some want headers that the source's own would bring: they are left out.
	make -k -j2 -C "$tree/tools/testing/selftests/kvm" KHDR_INCLUDES= LDFLAGS="-static -pthread" >/dev/null 2>&1 || :
	for kernel in generic 6.12; do
		TENON_SLOW=3 in_bed --kernel $kernel --smp 2 --turns -- "$tests/kvm-oracle.sh" "$(ko $kernel)" "$out/selftests" \
			Documentation/api.rst "$tree/tools/testing/selftests/kvm"
		[ "$(grep -c '^ok' <<<"$output")" -ge 30 ]
	done
}

@test "module: the same selftests pass on kvm_amd, 6.1" {
	in_bed --smp 2 --turns -- sh -c "modprobe -d \$TENON_BED_MODULES kvm_amd && $tests/run $out/selftests /dev/kvm"
}

@test "module: the same selftests pass on kvm_amd, 6.12" {
	in_bed --kernel 6.12 --smp 2 --turns -- sh -c "modprobe -d \$TENON_BED_MODULES kvm_amd && $tests/run $out/selftests /dev/kvm"
}

all_boots="tenon:1:kernel tenon:2:kernel tenon:1:split tenon:2:split tenon:1:kernel:noapic tenon:1:split:noapic
	qemu:1:on qemu:2:on qemu:1:split tenon-reboot:2:kernel qemu-reboot:1:split"

@test "module: Debian boots with every place of the interrupt controllers, 6.1" {
	boots generic $all_boots
}

@test "module: Debian boots with every place of the interrupt controllers, 6.12" {
	boots 6.12 $all_boots
}

@test "module: Debian with systemd boots to its login, with all of its units, and powers off" {
	[ -s "$guests/systemd.qcow2" ] || skip "no disk: see scripts/guest-systemd"
	in_bed --smp 2 -- "$tests/systemd.sh" "$(ko generic)" "$out/tenon" "$guests"
	grep -q '^ok' <<<"$output"
}

@test "module: comes and goes 100 times, 6.1" {
	life generic env LOOPS=100
}

@test "module: comes and goes 100 times, 6.12" {
	life 6.12 env LOOPS=100
}

@test "module: the first and the last VM in a race, for two minutes, 6.1 and 6.12" {
	for kernel in generic 6.12; do
		in_bed --kernel $kernel --smp 2 -- env RACE=60 "$tests/race.sh" "$(ko $kernel)" "$out/selftests"
	done
}

@test "module: kvm_amd before it, after it, and for a minute at the same time, 6.1 and 6.12" {
	owners generic env RACE=60
	owners 6.12 env RACE=60
}

@test "module: a machine sleeps under a VM, 6.12" {
	suspends 6.12
}

@test "module: another kernel starts by kexec under a VM, 6.12" {
	in_bed --kernel 6.12 --smp 2 -- "$tests/kexec.sh" "$(ko 6.12)" "$out/selftests"
}

@test "module: another kernel starts because the first one crashes under a VM, 6.1 and 6.12" {
	for kernel in generic 6.12; do
		in_bed --kernel $kernel --smp 2 --append crashkernel=512M -- \
			"$tests/kexec.sh" "$(ko $kernel)" "$out/selftests" crash
	done
}

@test "module: refuses a processor without AMD-V, 6.12" {
	refuses 6.12 Opteron_G3,svm=off 'offers no AMD-V'
}

@test "module: refuses a processor without nested paging, 6.12" {
	refuses 6.12 Opteron_G3 'AMD-V without nested paging'
}
