#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The module on VT-x, as Bochs has it: a sample of its own tests, what it refuses, Debian booted on it. The tag "full": the
# whole, which takes hours.

load module

# on_intel KERNEL CPUS MODEL PATHS COMMAND: PATHS (a comma between them) and tenon.ko are there; leaves $status and $output.
# $bed: more options
on_intel()
{
	bed --intel $bed --kernel "$1" --smp "$2" --cpu "$3" --ram "$(ko "$1"),$4" -- sh -c "$5"
}

# Everything was well, and there were some tests.
passed()
{
	[ "$status" = 0 ] && grep -q '^ok' <<<"$output" && ! grep '^not ok' <<<"$output"
}

# intel_run KERNEL CPUS MODEL [TEST...]: these, or all; leaves $status and $output. $params: of the module; $before: a command
# before it is loaded, and $files that this takes
intel_run()
{
	local dir=$out/selftests-intel kernel=$1 cpus=$2 model=$3

	shift 3
	rm -rf "$dir"
	mkdir -p "$dir"
	for t in ${*:-$(ls "$out/selftests")}; do ln "$out/selftests/$t" "$dir/"; done
	on_intel "$kernel" "$cpus" "$model" "$dir,$PWD/$tests/run$files" \
		"${before:-:} && insmod $(ko "$kernel") $params && $tests/run $dir && rmmod tenon"
}

# intel_selftests: the same, and they pass
intel_selftests()
{
	intel_run "$@"
	passed
}

# intel_refuses KERNEL MODEL MESSAGE: insmod fails, and the kernel log says this
intel_refuses()
{
	on_intel "$1" 1 "$2" "$(ko "$1")" "$(try_load "$1")"
	was_refused "lacks what tenon needs: .*$3"
}

# intel_boots KERNEL CPUS CASE...: see boot.sh; $params: of the module
intel_boots()
{
	local kernel=$1 cpus=$2 boot=$PWD/$tests/boot.sh

	shift 2
	on_intel "$kernel" "$cpus" corei7_haswell_4770 \
		"$out/tenon,$guests/cloud/vmlinuz,$guests/initrd-cloud-amd64,$boot,/bin/bash" \
		"TENON_PARAMS=$params TENON_BOOT_LIMIT=3000 $boot $(ko "$kernel") $out/tenon $guests $*"
	passed
}

@test "module: VT-x: selftests, a sample, 6.1" {
	intel_selftests cloud 1 corei7_haswell_4770 basic debug irq state
}

@test "module: VT-x: selftests, a sample, with virtual interrupts, 6.1" {
	params=vmx_unproven=1 before="export TENON_HUGE=1" intel_selftests cloud 2 corei7_haswell_4770 apic irq
}

@test "module: VT-x: selftests, a sample, without accessed bits in EPT, 6.1" {
	intel_selftests cloud 1 corei7_sandy_bridge_2600k basic memory
}

@test "module: VT-x: refuses a processor without unrestricted guest" {
	intel_refuses cloud corei5_lynnfield_750 'unrestricted guest'
}

@test "module: VT-x: refuses a processor without EPT" {
	intel_refuses cloud core2_penryn_t9600 'EPT'
}

@test "module: VT-x: Debian boots by tenon run, 6.1" {
	intel_boots cloud 1 tenon:1:kernel
}

# bats test_tags=full
@test "module: VT-x: all selftests, with one processor and with two, 6.1" {
	for cpus in 1 2; do
		TENON_SLOW=10 intel_selftests cloud $cpus corei7_haswell_4770
	done
}

# Bochs writes accessed bits past the write protection of EPT: Documentation/testbed.rst.
# bats test_tags=full
@test "module: VT-x: all selftests without accessed bits in EPT, 6.1; the dirty log misses what Bochs writes" {
	TENON_SLOW=10 intel_run cloud 1 corei7_sandy_bridge_2600k
	[ "$(grep -c '^ok' <<<"$output")" -gt 100 ]
	[ "$(sed -n 's/^not ok [0-9]* - //p' <<<"$output" | cut -d' ' -f1-4)" = $'two vCPUs write while\nthe same with KVM_CLEAR_DIRTY_LOG' ]
	[ "$(sed -n 's/^# *page \(0x.*\) differs/\1/p' <<<"$output" | sort -u | xargs)" = "0x10 0x11 0x12" ]
}

# bats test_tags=full
@test "module: VT-x: all selftests on a processor that scales the TSC, and with a kernel that has no XSAVE, 6.1" {
	TENON_SLOW=10 intel_selftests cloud 1 corei7_skylake_x
}

# A VM that has run nothing before an interrupt comes gets the wrong one from Bochs: Documentation/testbed.rst.
# bats test_tags=full
@test "module: VT-x: all selftests with virtual interrupts and the preemption timer, 6.1; Bochs fails three" {
	params=vmx_unproven=1 before="export TENON_HUGE=1" TENON_SLOW=10 intel_run cloud 1 corei7_haswell_4770
	[ "$(grep -c '^ok' <<<"$output")" -gt 100 ]
	[ "$(sed -n 's/^not ok [0-9]* - //p' <<<"$output" | cut -d' ' -f1-4)" = $'a halted processor is\nthe local APIC\'s timer\na TSC deadline comes' ]
}

# bats test_tags=full
@test "module: VT-x: Debian boots with virtual interrupts and the preemption timer, 6.1" {
	params=vmx_unproven=1 TENON_SLOW=10 intel_boots cloud 2 tenon:1:kernel tenon:2:kernel
}

# bats test_tags=full
@test "module: VT-x: all selftests as on a processor that needs every mitigation, 6.1" {
	pretend=$out/selftests-modules/cloud/pretend.ko

	bed=--mitigations files=,$pretend before="insmod $pretend" TENON_SLOW=10 intel_selftests cloud 1 corei7_haswell_4770
}

# Not random guests, as one that spins with interrupts off would have its processor for ever: Documentation/testbed.rst.
# bats test_tags=full
@test "module: VT-x: random callers, 6.1" {
	TENON_SLOW=10 on_intel cloud 2 corei7_haswell_4770 "$out/selftests/fuzz" \
		"insmod $(ko cloud) && $out/selftests/fuzz calls --seconds 12 && sleep 1 && rmmod tenon"
	passed
}

# bats test_tags=full
@test "module: VT-x: the first and the last VM in a race, while a CPU goes off and on, 6.1" {
	TENON_SLOW=10 on_intel cloud 2 corei7_haswell_4770 \
		"$out/selftests,$PWD/$tests/race.sh,$PWD/$tests/common.sh,/bin/bash" \
		"RACE=1 /bin/bash $PWD/$tests/race.sh $(ko cloud) $out/selftests"
	passed
}

# bats test_tags=full
@test "module: VT-x: all selftests, and Debian booted, 6.12" {
	TENON_SLOW=10 intel_selftests 6.12 1 corei7_haswell_4770
	TENON_SLOW=10 intel_boots 6.12 1 tenon:1:kernel
}

# bats test_tags=full
@test "module: VT-x: Debian boots with one processor and with two, 6.1" {
	TENON_SLOW=10 intel_boots cloud 2 tenon:1:kernel tenon:2:kernel
}
