#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# How a guest ends, and what the launcher's exit status says about it; the terminal afterwards.

load guest

# linux INPUT ARGUMENT...: a guest that is about to end
linux()
{
	local input=$1 append=$2

	shift 2
	boot linux 240 "$input" --kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" \
		--append "console=ttyS0 quiet $append" --memory 256M "$@"
}

# background ARGUMENT...: starts a guest, waits until it has printed something; leaves $pid
background()
{
	local n

	console=$BATS_FILE_TMPDIR/background
	echo "$tenon run $*" >"$console.command"
	: >"$console"
	"$tenon" run "$@" >"$console" 2>"$console.errors" </dev/null 3>&- &
	pid=$!
	for ((n = 0; n < 300; n++)); do
		[ ! -s "$console" ] || return 0
		sleep 0.1
	done
	kill -KILL $pid
	status=none
	fail "the guest printed nothing in 30 s"
}

# on_terminal COMMAND...: runs it on a terminal of its own; its settings before and after are left in files
on_terminal()
{
	limit 60 script -qec "stty -a >$BATS_TEST_TMPDIR/before; $*; echo \$? >$BATS_TEST_TMPDIR/status
		stty -a >$BATS_TEST_TMPDIR/after" /dev/null >"$BATS_TEST_TMPDIR/out" 2>&1 </dev/null 3>&-
	[ -s "$BATS_TEST_TMPDIR/after" ] || fail "did not end: $(cat "$BATS_TEST_TMPDIR/out")"
	status=$(cat "$BATS_TEST_TMPDIR/status")
}

same_terminal()
{
	diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after" || fail "the terminal is not as it was"
}

@test "exit: debug-exit port: status is value << 1 | 1" {
	run limit 30 "$tenon" run --kernel "$(tiny debug-exit)" --debug-exit 0xf4 </dev/null
	expect "status" "$status" -eq 33
}

@test "exit: triple fault: status 5 and a message" {
	run limit 30 "$tenon" run --kernel "$(tiny triple-fault)" </dev/null
	expect "status" "$status" -eq 5
	[[ "$output" == *[Tt]riple* ]] || fail "message: $output"
}

@test "exit: reset with --no-reboot: status 3" {
	run limit 30 "$tenon" run --kernel "$(tiny reset)" --no-reboot </dev/null
	expect "status" "$status" -eq 3
}

@test "exit: a Linux reboot with --no-reboot: status 3" {
	linux 'reboot -f' "" --no-reboot
	expect "status" "$status" -eq 3
}

@test "exit: a reboot boots again" {
	again()
	{
		local n

		echo "reboot -f"
		for ((n = 0; n < 400 && $(grep -c 'Tenon guest: Linux' "$console.times") < 2; n++)); do
			sleep 0.5
		done
		echo "poweroff -f"
	}
	GUEST_FEED=again linux "" ""
	expect "status" "$status" -eq 0
	expect "banners" "$(grep -c '^Tenon guest: Linux' "$console")" -eq 2
}

@test "exit: a kernel panic: status 4 and a message" {
	linux 'echo c >/proc/sysrq-trigger' ""
	expect "status" "$status" -eq 4
	grep -qi panic "$console.errors" || fail "no message"
}

@test "exit: SIGTERM: status 143 soon, nothing left behind" {
	background --kernel "$(tiny hello)"
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	expect "status" "$status" -eq 143
	[ -z "$(pgrep -P "$pid")" ] || fail "processes left behind"
}

@test "exit: SIGINT: status 130 soon" {
	# A shell starts background jobs with SIGINT ignored: the program in between has it back.
	console=$BATS_FILE_TMPDIR/int
	echo "hello" >"$console.command"
	status=0
	timeout -s INT --preserve-status -k 20 5 "$tenon" run --kernel "$(tiny hello)" >"$console" 2>"$console.errors" \
		</dev/null || status=$?
	expect "status" "$status" -eq 130
}

@test "exit: the terminal is as before after a normal end" {
	on_terminal "$tenon" run --kernel "$(tiny debug-exit)" --debug-exit 0xf4
	expect "status" "$status" -eq 33
	same_terminal
}

@test "exit: the terminal is as before after SIGTERM" {
	on_terminal timeout --foreground --preserve-status -s TERM 3 "$tenon" run --kernel "$(tiny hello)"
	expect "status" "$status" -eq 143
	same_terminal
}

@test "exit: the terminal is as before after a triple fault" {
	on_terminal "$tenon" run --kernel "$(tiny triple-fault)"
	expect "status" "$status" -eq 5
	same_terminal
}

@test "exit: the terminal is as before when the start fails" {
	on_terminal "$tenon" run --kernel /nonexistent
	expect "status" "$status" -eq 1
	same_terminal
}
