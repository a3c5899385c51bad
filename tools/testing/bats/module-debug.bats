#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The module on the debug kernel (make check-debug): lockdep, KASAN, DEBUG_ATOMIC_SLEEP and kmemleak watch. Everything takes
# several times as long there.

load module
export TENON_SLOW=${TENON_SLOW:-10}

@test "module: selftests, on the debug kernel" {
	selftests debug
}

@test "module: selftests, on the debug kernel, with its mitigations" {
	selftests debug --mitigations
}

@test "module: random callers, random guests and storms of interrupts, on the debug kernel" {
	fuzzes debug 120 calls guests storms
}

@test "module: the first and the last VM in a race, while a CPU goes off and on, on the debug kernel" {
	in_bed --kernel debug --smp 2 -- env RACE=10 "$tests/race.sh" "$(ko debug)" "$out/selftests"
}

@test "module: a machine sleeps under a VM, on the debug kernel" {
	suspends debug
}
