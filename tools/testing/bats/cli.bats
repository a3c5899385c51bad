#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The command line: help, and refusals that say what was tried, on what, why it failed and what to do.

load guest

setup()
{
	export TMPDIR=$BATS_TEST_TMPDIR/tmp
	mkdir -p "$TMPDIR"
	ls -A /dev/shm >"$BATS_TEST_TMPDIR/shm" 2>/dev/null || true
}

teardown()
{
	[ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(ls -A "$TMPDIR")"
	[ "$(ls -A /dev/shm 2>/dev/null)" = "$(cat "$BATS_TEST_TMPDIR/shm")" ] || fail "something was left in /dev/shm"
}

# try_run ARGUMENT...: standard output and standard error apart
try_run()
{
	console=$BATS_FILE_TMPDIR/cli
	echo "$tenon $*" >"$console.command"
	status=0
	limit 30 "$tenon" "$@" >"$console" 2>"$console.errors" </dev/null || status=$?
	errors=$(cat "$console.errors")
}

# refused STATUS WORD... -- ARGUMENT...: ends with STATUS, says every WORD on standard error, starts no guest
refused()
{
	local want=$1 words=() w

	shift
	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	shift
	try_run "$@"
	expect "exit status" "$status" -eq "$want"
	[ ! -s "$console" ] || fail "something on standard output"
	[ "$(grep -c '' <<<"$errors")" -le 6 ] || fail "more than six lines of message"
	for w in "${words[@]}"; do
		grep -qiE -- "$w" <<<"$errors" || fail "the message does not say \"$w\""
	done
}

@test "cli: --help and help: usage on standard output, status 0" {
	try_run --help
	expect "exit status" "$status" -eq 0
	grep -q "tenon run" "$console" || fail "no usage"
	try_run run --help
	expect "exit status" "$status" -eq 0
	grep -q -e "--kernel" "$console" || fail "no options"
}

@test "cli: --version" {
	try_run --version
	expect "exit status" "$status" -eq 0
	grep -q "$(cat "$top/VERSION")" "$console" || fail "no version"
}

@test "cli: info says what is usable here, and why not" {
	try_run info
	expect "exit status" "$status" -eq 0
	grep -q soft "$console" || fail "does not name the software CPU"
	grep -q /dev/tenon "$console" || fail "does not name the module"
	grep -q /dev/kvm "$console" || fail "does not name /dev/kvm"
}

@test "cli: no command: usage on standard error, status 2" {
	try_run
	expect "exit status" "$status" -eq 2
	[ ! -s "$console" ] || fail "something on standard output"
	grep -q "tenon run" <<<"$errors" || fail "no usage"
}

@test "cli: an unknown command: status 2" {
	refused 2 frobnicate -- frobnicate
}

@test "cli: an unknown option: status 2" {
	refused 2 frobnicate -- run --frobnicate
}

@test "cli: an option without its value: status 2" {
	refused 2 kernel -- run --kernel
}

@test "cli: --irqchip: an unknown place, and one that the software CPU does not have: status 2" {
	refused 2 --irqchip nowhere kernel split -- run -k /dev/null --irqchip nowhere
	refused 2 --irqchip 'software CPU' --accel -- run -k /dev/null --accel soft --irqchip split
}

@test "cli: no kernel: status 2" {
	refused 2 kernel -- run --memory 256M
}

@test "cli: a kernel that does not exist" {
	refused 1 /nonexistent/kernel "No such file" -- run --kernel /nonexistent/kernel
}

@test "cli: a kernel that is a directory" {
	refused 1 "$TMPDIR" "directory" -- run --kernel "$TMPDIR"
}

@test "cli: an empty kernel" {
	refused 1 /dev/null -- run --kernel /dev/null
}

@test "cli: a text file is not a kernel" {
	refused 1 COPYING -- run --kernel "$top/COPYING"
}

@test "cli: a truncated bzImage" {
	head -c 100000 "$guests/cloud/vmlinuz" >"$BATS_TEST_TMPDIR/cut"
	refused 1 "$BATS_TEST_TMPDIR/cut" "truncated|short|end" -- run --kernel "$BATS_TEST_TMPDIR/cut"
}

@test "cli: a bzImage cut within its header" {
	head -c 530 "$guests/cloud/vmlinuz" >"$BATS_TEST_TMPDIR/cut"
	refused 1 "$BATS_TEST_TMPDIR/cut" -- run --kernel "$BATS_TEST_TMPDIR/cut"
}

@test "cli: a truncated ELF" {
	head -c 60 "$(tiny hello)" >"$BATS_TEST_TMPDIR/cut"
	refused 1 "$BATS_TEST_TMPDIR/cut" -- run --kernel "$BATS_TEST_TMPDIR/cut"
}

@test "cli: an initrd that does not exist" {
	refused 1 /nonexistent/initrd "No such file" -- \
		run --kernel "$guests/cloud/vmlinuz" --initrd /nonexistent/initrd
}

@test "cli: an initrd that does not fit" {
	truncate -s 200M "$BATS_TEST_TMPDIR/big"
	refused 1 "$BATS_TEST_TMPDIR/big" "memory" -- \
		run --kernel "$guests/cloud/vmlinuz" --initrd "$BATS_TEST_TMPDIR/big" --memory 128M
}

@test "cli: too little memory for the kernel" {
	refused 2 memory 8M -- run --kernel "$guests/cloud/vmlinuz" --memory 8M
	refused 1 memory -- run --kernel "$guests/cloud/vmlinuz" --memory 32M
}

@test "cli: more memory than there is" {
	try_run run --kernel "$guests/cloud/vmlinuz" --memory 1T
	[ "$status" -eq 1 ] || [ "$status" -eq 2 ] || fail "exit status is $status"
	grep -qi memory <<<"$errors" || fail "no message"
}

@test "cli: memory that is no number" {
	refused 2 memory lots -- run --kernel "$guests/cloud/vmlinuz" --memory lots
}

@test "cli: memory that overflows" {
	refused 2 memory -- run --kernel "$guests/cloud/vmlinuz" --memory 99999999999999999999G
}

@test "cli: --cpus 0" {
	refused 2 cpus -- run --kernel "$guests/cloud/vmlinuz" --cpus 0
}

@test "cli: --cpus 1000000" {
	refused 2 cpus -- run --kernel "$guests/cloud/vmlinuz" --cpus 1000000
}

@test "cli: a disk that does not exist" {
	refused 1 /nonexistent/disk "No such file" -- run --kernel "$guests/cloud/vmlinuz" --disk /nonexistent/disk
}

@test "cli: an accelerator that does not exist" {
	refused 2 warp -- run --kernel "$guests/cloud/vmlinuz" --accel warp
}

@test "cli: a CPU model that does not exist" {
	refused 2 80186 -- run --kernel "$guests/cloud/vmlinuz" --cpu 80186
	refused 2 bogus -- run --kernel "$guests/cloud/vmlinuz" --cpu max,+bogus
}

@test "cli: a console that cannot be written" {
	console=$BATS_FILE_TMPDIR/full
	echo "run >/dev/full" >"$console.command"
	: >"$console"
	status=0
	limit 30 "$tenon" run --kernel "$(tiny hello)" >/dev/full 2>"$console.errors" </dev/null || status=$?
	expect "exit status" "$status" -eq 1
	grep -qi "No space left" "$console.errors" || fail "no message"
}

@test "cli: without /dev/shm" {
	unshare -rm mount -t tmpfs -o ro none /dev/shm 2>/dev/null || unshare -m mount -t tmpfs -o ro none /dev/shm ||
		skip "this host does not let a test hide /dev/shm"
	console=$BATS_FILE_TMPDIR/shm
	ns="unshare -rm"
	$ns true 2>/dev/null || ns="unshare -m"
	echo "run without /dev/shm" >"$console.command"
	: >"$console"
	status=0
	limit 30 $ns sh -c 'mount -t tmpfs -o ro none /dev/shm && exec "$@"' sh "$tenon" run \
		--kernel "$(tiny debug-exit)" --debug-exit 0xf4 2>"$console.errors" </dev/null || status=$?
	[ "$status" -eq 33 ] || { [ "$status" -eq 1 ] && grep -q shm "$console.errors"; } || fail "exit status is $status"
}

@test "cli: --stats prints counters at the end, on standard error" {
	try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --stats
	expect "exit status" "$status" -eq 33
	grep -qi insn <<<"$errors" || grep -qi instruction <<<"$errors" || fail "no counters"
	grep -q "in translated code .*interpreted: cold" <<<"$errors" || fail "not told what was translated"
}

@test "cli: what comes in on standard input reaches the serial port unchanged" {
	console=$BATS_FILE_TMPDIR/echo
	echo "echo kernel" >"$console.command"
	status=0
	{ seq 1 3000; echo q; } | limit 60 "$tenon" run --kernel "$(tiny echo)" --debug-exit 0xf4 \
		>"$console" 2>"$console.errors" || status=$?
	expect "exit status" "$status" -eq 1
	{ echo '>'; seq 1 3000; } | cmp - "$console" || fail "the echo differs"
}

@test "cli: --sandbox on and off run a guest to its end" {
	local how

	for how in on off; do
		try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --sandbox "$how"
		expect "exit status with --sandbox $how" "$status" -eq 33
	done
	refused 2 "neither on nor off" maybe -- run --kernel "$(tiny debug-exit)" --sandbox maybe
}

@test "cli: --trace and --perf-map say what was translated" {
	local map

	try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --memory 32M --jit eager --trace "$BATS_TEST_TMPDIR/trace"
	expect "exit status" "$status" -eq 33
	grep -Eq '^[0-9a-f]+: [0-9]+ instructions of physical page [0-9a-f]+, (32|64) bits, kernel' "$BATS_TEST_TMPDIR/trace" ||
		fail "no block in $(head "$BATS_TEST_TMPDIR/trace")"
	grep -Eq $'^\t *[0-9a-f]+  (mov|cmp) ' "$BATS_TEST_TMPDIR/trace" || fail "no host code"
	"$tenon" run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --memory 32M --jit eager --perf-map &
	wait $! || [ $? -eq 33 ] || fail "ended with $?"
	map=/tmp/perf-$!.map
	grep -Eq '^[0-9a-f]+ [0-9a-f]+ guest_[0-9a-f]+_kernel$' "$map" || fail "no line in $map"
	rm "$map"
	refused 1 "--trace: create '/nonexistent/file': No such file" trace -- run --kernel "$(tiny debug-exit)" \
		--trace /nonexistent/file
}

@test "cli: --lockstep runs a guest to its end, with one processor only" {
	try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --memory 32M --lockstep
	expect "exit status" "$status" -eq 33
	try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --lockstep --cpus 2
	expect "exit status" "$status" -eq 2
	try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --lockstep=often
	expect "exit status" "$status" -eq 2
}

@test "cli: a guest ends the same way whatever --jit says" {
	local mode

	for mode in on off eager stress; do
		try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --jit "$mode"
		expect "exit status with --jit $mode" "$status" -eq 33
	done
	try_run run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 --jit fast
	expect "exit status" "$status" -eq 2
}
