#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# What the software CPU runs beside 64-bit Linux, and its models. Oracles: the kernels' own checks, what the programs in
# programs/ and kernels/dos.S name, sum(1), and the lists of features in cpu.bash.

load guest
load cpu

setup_file()
{
	load guest
	load cpu
	# The interpreter takes its time: beside the other tests, and without the kernel's tests of its ciphers.
	GUEST_ALSO=/segments GUEST_FILES=$(program32 segments) ask interpreter 300 686-pae i386 cryptomgr.notests --jit off \
		--memory 256M --net none 3>&- &
	echo $! >"$BATS_FILE_TMPDIR/interpreter.pid"
	program64 features >/dev/null
}

# Types once the program asks for it.
at_prompt()
{
	local n

	for ((n = 0; n < 600 * ${TENON_SLOW:-1}; n++)); do
		! grep -q 'Type a line' "$console.times" || break
		sleep 0.1
	done
	printf '%s\r' "$1"
}

# dos NAME ARGUMENT...: kernels/dos.S, built with -DV86=$V86 if that is set
dos()
{
	local disk=$BATS_TEST_TMPDIR/$1.img name=$1

	gcc ${V86:+-DV86=$V86} -m32 -nostdlib -static -no-pie \
		-Wl,--build-id=none,--no-warn-rwx-segments,-N,-Ttext=0x7c00,--oformat=binary -o "$disk" "$BATS_TEST_DIRNAME/kernels/dos.S"
	truncate -s 1M "$disk"
	shift
	# The BIOS's keyboard buffer holds 15 keys.
	GUEST_FEED=at_prompt boot "$name" 60 'Hello, 8086' --net none --memory 32M --debug-exit 0xf4 "$@" "$disk"
	expect "exit status" "$status" -eq 33
	sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' "$console" | tr -d '\r' | sed -n '/^backwards/,/^interrupt/p' >"$BATS_TEST_TMPDIR/said"
	diff - "$BATS_TEST_TMPDIR/said" <<-END || fail "the program computed something else (above)"
		backwards=6808 ,OLLEH
		sum=$(printf 'Hello, 8086' | sum -r | cut -d ' ' -f 1)
		primes=6542
		power=01267650600228229401496703205376
		factorial=5040
		equal
		2828
		bound
		overflow
		breakpoint
		stepped=3
		interrupt flag=512
	END
	[ "$(dd if="$disk" bs=512 skip=50 count=1 status=none | head -c 18)" = "written by INT 13H" ] || fail "nothing was written to the disk"
}

@test "cpu: a 16-bit program with its own INT 21H, from a boot sector" {
	dos interpreted --jit off
	dos translated --jit eager
}

@test "cpu: the same in virtual-8086 mode, under a monitor" {
	V86=1 dos interpreted --jit off
	V86=1 dos translated --jit eager
}

@test "cpu: the same in virtual-8086 mode with VME" {
	V86=2 dos interpreted --jit off
	V86=2 dos translated --jit eager
}

@test "cpu: a 32-bit kernel, 2 CPUs; segments of a program's own" {
	GUEST_ALSO=/segments GUEST_FILES=$(program32 segments) try 686-pae i386 2 512 2 ""
	[ "$(answer machine)" = i686 ] || fail "machine is $(answer machine)"
	check_segments
}

@test "cpu: a 64-bit kernel runs a 32-bit program with 16-bit segments of its own" {
	with_script "$guests/initrd-generic-amd64" /segments "$BATS_TEST_TMPDIR/initrd" "$(program32 segments)"
	boot compat 240 '. /test.sh; poweroff -f' --net none --kernel "$guests/generic/vmlinuz" --initrd "$BATS_TEST_TMPDIR/initrd" \
		--append "console=ttyS0 quiet" --memory 256M
	expect "exit status" "$status" -eq 0
	check_segments
}

@test "cpu: qemu64 has the features it names" { check_features cloud qemu64; }
@test "cpu: Nehalem has the features it names" { check_features cloud Nehalem; }
@test "cpu: Haswell has the features it names" { check_features cloud Haswell; }
@test "cpu: x86-64-v2 has the features it names" { check_features cloud x86-64-v2; }
@test "cpu: x86-64-v3 has the features it names" { check_features cloud x86-64-v3; }
@test "cpu: max has every feature, and Linux warns of none" { check_features cloud max; }

@test "cpu: features that are taken away are not there, and fault" {
	# f16c, fma, vaes and vpclmulqdq need avx; gfni, sha and aes need only SSE2.
	check_features cloud max avx avx2 f16c fma vaes vpclmulqdq sha_ni adx bmi1 bmi2 abm movbe rdrand rdseed rdpid rdtscp fsgsbase \
		clwb clflushopt popcnt xsaveopt xsavec xsaves xgetbv1
}

@test "cpu: a 32-bit kernel, interpreted; segments of a program's own" {
	until_true test -e "$BATS_FILE_TMPDIR/interpreter.status"
	recall interpreter
	# Not its clock: it is slow, and not alone.
	expect "exit status" "$status" -eq 0
	[ "$(answer machine)" = i686 ] || fail "machine is $(answer machine)"
	[ "$(answer sum)" = "$(seq 1 20000 | md5sum | cut -c 1-32)" ] || fail "a checksum is wrong: $(answer sum)"
	[ -z "$(answer bad)" ] || fail "the kernel complained: $(answer bad)"
	check_segments
}
