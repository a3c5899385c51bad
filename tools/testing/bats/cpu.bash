# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Loaded behind guest.bash by the tests of the processor: its programs, and what its models are.

# program32 NAME: a program of tools/testing/bats/programs without C library for 32-bit Linux; prints its path
program32()
{
	local p=$BATS_FILE_TMPDIR/$1

	[ -e "$p" ] || gcc -m32 -isystem "/usr/include/$(gcc -print-multiarch)" -Os -ffreestanding -fno-stack-protector -fno-pie \
		-nostdlib -static -no-pie -mgeneral-regs-only -fno-asynchronous-unwind-tables -Wl,--build-id=none -o "$p" \
		"$BATS_TEST_DIRNAME/programs/$1.c" >&2
	echo "$p"
}

# program64 NAME: one for 64-bit Linux
program64()
{
	local p=$BATS_FILE_TMPDIR/$1

	[ -e "$p" ] || gcc -O1 -static -o "$p" "$BATS_TEST_DIRNAME/programs/$1.c" >&2
	echo "$p"
}

# check_segments: what the program segments said
check_segments()
{
	local bad

	bad=$(sed -n 's/^.*T>\([a-z0-9-]*=.* not .*\)/\1/p' "$console")
	[ -z "$bad" ] || fail "segments: $bad"
	expect "checks of segments" "$(grep -c 'T>[a-z0-9-]*=ok' "$console")" -eq 26
	[ "$(answer end)" = ok ] || fail "the program did not come to its end"
}

# Features by Linux's names; what the levels are is the psABI's ("x86-64 psABI", table "Micro-Architecture Levels").
level1="fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 syscall nx lm hypervisor"
level2="$level1 pni ssse3 sse4_1 sse4_2 popcnt cx16 lahf_lm"
level3="$level2 xsave avx avx2 bmi1 bmi2 f16c fma abm movbe"
virtual="x2apic tsc_deadline_timer tsc_adjust arat ibrs ibpb arch_capabilities constant_tsc nonstop_tsc"
haswell="$level3 $virtual rdtscp aes pclmulqdq rdrand fsgsbase smep erms xsaveopt pdpe1gb pcid invpcid"

# model NAME: its flags
model()
{
	case $1 in
	qemu64) echo "$level1 pni cx16 lahf_lm x2apic arat constant_tsc nonstop_tsc mmxext" ;;
	Nehalem) echo "$level2 $virtual rdtscp" ;;
	Haswell) echo "$haswell" ;;
	x86-64-v2) echo "$level2 $virtual" ;;
	x86-64-v3) echo "$level3 $virtual" ;;
	max) echo "$haswell ss rdseed adx smap clflushopt clwb sha_ni umip pku ospke gfni vaes vpclmulqdq rdpid fsrm xsavec xgetbv1" \
		"xsaves 3dnowprefetch" ;;
	esac
}

# What the host's own instructions compute is there if the host has it.
seam="pni ssse3 sse4_1 sse4_2 aes pclmulqdq sha_ni avx avx2 fma f16c gfni vaes vpclmulqdq"

# Flags that Linux makes up, or sets for the vendor or the level alone.
made_up="rep_good nopl xtopology cpuid tsc_known_freq extd_apicid vmmcall invpcid_single ibrs_enhanced"

# words LIST...: one a line, sorted
words()
{
	printf '%s\n' $* | sort -u
}

# check_features KERNEL MODEL [REMOVED...]: boots it; the flags are the model's without those removed, and true
check_features()
{
	local host want f cpu=$2

	for f in "${@:3}"; do cpu+=,-$f; done
	with_script "$guests/initrd-$1-amd64" '/features; dmesg -r | grep "^<[0-4]>" | sed "s/^/T>warning=/"' \
		"$BATS_TEST_TMPDIR/initrd" "$(program64 features)"
	boot "features-$1-$2" 240 '. /test.sh; poweroff -f' --net none --kernel "$guests/$1/vmlinuz" \
		--initrd "$BATS_TEST_TMPDIR/initrd" --append "console=ttyS0 quiet" --memory 256M --cpu "$cpu"
	expect "exit status" "$status" -eq 0
	[ -z "$(answer wrong)" ] || fail "cpuinfo and the processor disagree"
	expect "instructions tried" "$(answer tried)" -ge 60
	host=" $(sed -n 's/^flags.*: //p' /proc/cpuinfo | head -n 1) " want=
	for f in $(model "$2"); do
		[[ " $seam " == *" $f "* && $host != *" $f "* || " ${*:3} " == *" $f "* ]] || want+=" $f"
	done
	# 3DNow!'s prefetch: Linux sets it for every AMD processor with 64-bit mode.
	[ "$2" != qemu64 ] || want+=" 3dnowprefetch"
	diff <(words "$want") <(words "$(answer flags)" | grep -vxF "$(words "$made_up")") || fail "$2 has other flags (above)"
	# The chipset has no memory-mapped configuration space, and Linux says so; a busy host makes a bad clock to calibrate by.
	f=$(sed -n 's/^.*T>warning=//p' "$console" |
		grep -v -e 'fail to add MMCONFIG' -e 'tsc: Unable to calibrate against PIT' -e 'calibration not consistent with PM-Timer' || true)
	[ -z "$f" ] || fail "the kernel warns: $f"
}
