# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Loaded by module*.bats: commands in the test bed. Wants `make modules` for both kernels, and `make selftests`.

cd "$BATS_TEST_DIRNAME/../../.." || exit 1
out=${O:-build}
case $out in /*) ;; *) out=$PWD/$out ;; esac
guests=${TENON_CACHE:-$out/guest}
tests=tools/testing/selftests/tenon

ko()
{
	echo "$out/modules/$1/tenon.ko"
}

# bed ARGUMENT...: scripts/testbed with a watchdog far above what it needs; leaves $status and $output.
bed()
{
	run scripts/testbed --timeout $((600 * ${TENON_SLOW:-1})) "$@"
	echo "$output"
}

# The command succeeds, the kernel log is clean, and no line of TAP says "not ok".
in_bed()
{
	bed "$@"
	[ "$status" = 0 ] && ! grep '^not ok' <<<"$output"
}

# selftests KERNEL [ARGUMENT...]: all of them. Nothing is left out for want of a feature that the bed has.
selftests()
{
	local kernel=$1

	shift
	in_bed --kernel "$kernel" --smp 2 "$@" -- \
		sh -c "insmod $(ko "$kernel") && $tests/run $out/selftests && rmmod tenon"
	grep -q '^ok' <<<"$output"
}

# fuzzes KERNEL SECONDS MODE...: see fuzz.c; SECONDS of each
fuzzes()
{
	local kernel=$1 seconds=$2

	shift 2
	in_bed --kernel "$kernel" --smp 2 -- sh -c "insmod $(ko "$kernel") && for mode in $*; do $out/selftests/fuzz \$mode \
--seconds $seconds || exit 1; done && sleep 1 && rmmod tenon"
	[ "$(grep -c '^ok' <<<"$output")" = $# ]
}

# pretends KERNEL [TEST...]: these, or all, with the module patched for every mitigation; $pretended: see pretend.c
pretends()
{
	local kernel=$1 dir=$out/selftests-modules/$1/tests

	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	for t in ${*:-$(ls "$out/selftests")}; do ln "$out/selftests/$t" "$dir/"; done
	in_bed --kernel "$kernel" --smp 2 -- sh -c "insmod $out/selftests-modules/$kernel/pretend.ko $pretended && \
insmod $(ko "$kernel") && $tests/run $dir && rmmod tenon"
	grep -q '^ok' <<<"$output"
}

# life KERNEL [env NAME=VALUE...]: see life.sh. With its debugging on, as the test bed has it, SLUB's numbers are exact.
life()
{
	in_bed --kernel "$1" --smp 2 --turns -- "${@:2}" "$tests/life.sh" "$(ko "$1")" "$out/selftests"
}

# owners KERNEL [env NAME=VALUE...]: see owners.sh. 6.12's KVM warns twice of a processor that is not its own.
owners()
{
	local warnings=0

	[ "$1" = generic ] || warnings=2
	in_bed --kernel "$1" --smp 2 --turns --expect-warn $warnings -- "${@:2}" \
		"$tests/owners.sh" "$(ko "$1")" "$out/selftests"
}

# suspends KERNEL: see suspend.sh
suspends()
{
	in_bed --kernel "$1" --smp 2 --ram "$(ko "$1"),$out/selftests,$PWD/$tests" -- \
		"$PWD/$tests/suspend.sh" "$(ko "$1")" "$out/selftests"
}

# boots KERNEL CASE...: see boot.sh
boots()
{
	local kernel=$1

	shift
	in_bed --kernel "$kernel" --smp 2 -- "$tests/boot.sh" "$(ko "$kernel")" "$out/tenon" "$guests" "$@"
	[ "$(grep -c '^ok' <<<"$output")" = $# ]
}

# refuses KERNEL CPU MESSAGE: insmod fails, and the kernel log says this
refuses()
{
	bed --kernel "$1" --cpu "$2" -- sh -c "$(try_load "$1")"
	was_refused "$3"
}

# try_load KERNEL: the command that loads it, for was_refused MESSAGE
try_load()
{
	echo "insmod $(ko "$1") && echo LOADED; dmesg | grep tenon:; exit 7"
}
was_refused()
{
	[ "$status" = 7 ] && grep -q "$1" <<<"$output" && ! grep LOADED <<<"$output"
}
