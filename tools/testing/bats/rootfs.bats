#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# tenon run --rootfs: a host directory as root file system, a command's output and exit status. The oracle is the same
# command on the host, or the host's view of the directory.

load guest

kernel=(--net none --kernel "$guests/generic/vmlinuz" --modules "$guests/generic/modules")

# in_root NAME DIR ARGUMENT... -- COMMAND...: leaves its output in $console, $console.errors, and $status
in_root()
{
	local name=$1 dir=$2

	shift 2
	console=$BATS_FILE_TMPDIR/$name
	echo "$tenon run --rootfs $dir $*" >"$console.command"
	status=0
	limit 240 "$tenon" run "${kernel[@]}" --rootfs "$dir" "$@" >"$console" 2>"$console.errors" || status=$?
}

# output TEXT: exactly that, nothing from the kernel, nothing on standard error
output()
{
	[ "$(cat "$console")" = "$1" ] || fail "wanted: $1"
	[ ! -s "$console.errors" ] || fail "standard error is not empty"
}

# A root file system of a few links: the programs are the guest's Debian's.
small()
{
	local d=$BATS_TEST_TMPDIR/small

	mkdir -p "$d"/{bin,proc,sys,dev,tmp,run,etc}
	cp "$guests/busybox-amd64" "$d/bin/busybox"
	chmod 755 "$d/bin/busybox"
	ln -sf busybox "$d/bin/sh"
	echo "$d"
}

@test "rootfs: prints hello and exits with 7" {
	in_root hello "$guests/rootfs" -- /bin/sh -c 'echo hello; exit 7' </dev/null
	expect "exit status" "$status" -eq 7
	output hello
}

@test "rootfs: the same for a user without privileges" {
	[ "$(id -u)" = 0 ] || skip "the other tests run without privileges already"
	for f in "$tenon" "$guests/generic/vmlinuz" "$guests/rootfs/bin/sh"; do
		setpriv --reuid 65534 --regid 65534 --clear-groups test -r "$f" || skip "others may not read $f"
	done
	console=$BATS_FILE_TMPDIR/user
	echo "as nobody" >"$console.command"
	status=0
	limit 240 setpriv --reuid 65534 --regid 65534 --clear-groups "$tenon" run "${kernel[@]}" --rootfs "$guests/rootfs" -- \
		/bin/sh -c 'echo hello; exit 7' </dev/null >"$console" 2>"$console.errors" || status=$?
	expect "exit status" "$status" -eq 7
	output hello
}

@test "rootfs: --rootfs / runs the host's programs and changes nothing" {
	local marker=/etc/tenon-test-$$

	in_root host / -- /bin/sh -c "echo hello; cat /etc/hostname; echo x >$marker && cat $marker; ls /proc/1/comm; exit 7" \
		</dev/null
	expect "exit status" "$status" -eq 7
	output "hello
$(cat /etc/hostname)
x
/proc/1/comm"
	[ ! -e "$marker" ] || fail "$marker is on the host"
}

@test "rootfs: hello costs seconds of CPU, not more" {
	local cpu

	# 2 s on a host with nothing else to do (Documentation/performance.rst); without the translator it is 19.
	TIMEFORMAT='%U + %S'
	{ time in_root cpu / -- /bin/sh -c 'echo hello; exit 7' </dev/null; } 2>"$BATS_TEST_TMPDIR/cpu"
	expect "exit status" "$status" -eq 7
	output hello
	cpu=$(tail -n 1 "$BATS_TEST_TMPDIR/cpu")
	awk "BEGIN { exit !($cpu < 10 * ${TENON_SLOW:-1}) }" || fail "it took $cpu s of CPU"
}

@test "rootfs: input arrives byte by byte, and ends" {
	local d

	d=$(small)
	head -c 100000 /dev/urandom >"$BATS_TEST_TMPDIR/in"
	in_root input "$d" -- /bin/busybox cat <"$BATS_TEST_TMPDIR/in"
	expect "exit status" "$status" -eq 0
	cmp "$BATS_TEST_TMPDIR/in" "$console" || fail "what came back differs"
}

@test "rootfs: what the command writes is in the directory" {
	local d

	d=$(small)
	in_root write "$d" -- /bin/busybox sh -c 'b=/bin/busybox; cd /etc && $b seq 1 5000 >n && $b seq 5001 10000 >>n &&
		$b chmod 640 n && $b mkdir d && $b ln -s ../n d/link && $b mv n d/n && $b ln d/n hard' </dev/null
	expect "exit status" "$status" -eq 0
	output ""
	[ "$(md5sum <"$d/etc/d/n")" = "$(seq 1 10000 | md5sum)" ] || fail "the file differs"
	[ "$(stat -c '%a %h' "$d/etc/d/n")" = "640 2" ] || fail "mode and links: $(stat -c '%a %h' "$d/etc/d/n")"
	[ "$(readlink "$d/etc/d/link")" = ../n ] || fail "the link differs"
}

@test "rootfs: with ,ro changes stay in the guest" {
	local d before

	d=$(small)
	before=$(find "$d" | sort | md5sum)
	in_root overlay "$d,ro" -- /bin/sh -c 'echo changed >/etc/new; b=/bin/busybox; $b cat /etc/new; $b rm -r /sys2 /etc; $b ls /' \
		</dev/null
	expect "exit status" "$status" -eq 0
	grep -q '^changed' "$console" || fail "the guest does not see its change"
	! grep -q '^etc' "$console" || fail "the guest does not see what it removed"
	[ "$(find "$d" | sort | md5sum)" = "$before" ] || fail "the directory has changed"
}

@test "rootfs: exit statuses of what could not be run" {
	local d

	d=$(small)
	in_root none "$d" -- nonesuch </dev/null
	expect "a command that is not there" "$status" -eq 127
	grep -q nonesuch "$console" || fail "the message does not name it"
	echo "no program" >"$d/etc/text"
	in_root text "$d" -- /etc/text </dev/null
	expect "a file that is no program" "$status" -eq 126
	in_root signal "$d" -- /bin/sh -c 'kill -TERM $$' </dev/null
	expect "a command that a signal ended" "$status" -eq 143
}

@test "rootfs: a terminal is the command's own" {
	local d

	d=$(small)
	limit 240 script -qec "stty rows 33 cols 99; $tenon run ${kernel[*]} --rootfs $d -- /bin/sh -c '/bin/busybox stty size; /bin/busybox tty; exit 5'; echo status=\$?" \
		/dev/null >"$BATS_TEST_TMPDIR/out" 2>&1 </dev/null 3>&-
	# script(1) without input of its own types a NUL, which the guest's terminal echoes.
	grep -q '33 99' "$BATS_TEST_TMPDIR/out" || fail "size: $(cat "$BATS_TEST_TMPDIR/out")"
	grep -q '^/dev/ttyS0' "$BATS_TEST_TMPDIR/out" || fail "terminal: $(cat "$BATS_TEST_TMPDIR/out")"
	grep -q '^status=5' "$BATS_TEST_TMPDIR/out" || fail "status: $(cat "$BATS_TEST_TMPDIR/out")"
}

@test "rootfs: the last output on a terminal that is slow to take it arrives" {
	local d

	d=$(small)
	# As much as pipe, terminal and launcher hold, and half of what the guest's driver does: the command ends
	# while that waits.
	limit 240 script -qec "$tenon run ${kernel[*]} --rootfs $d -- /bin/sh -c 'busybox head -c 143000 /dev/zero | busybox tr -c x =; echo; echo end; exit 3'; echo status=\$?" \
		/dev/null </dev/null 3>&- | { sleep 5; cat; } >"$BATS_TEST_TMPDIR/out"
	grep -q '^end' "$BATS_TEST_TMPDIR/out" || fail "the last line is missing"
	grep -q '^status=3' "$BATS_TEST_TMPDIR/out" || fail "status: $(tail -n 1 "$BATS_TEST_TMPDIR/out")"
}

@test "rootfs: on a terminal, Ctrl-C ends the command, and Ctrl-Z does not stop it for good" {
	local d

	d=$(small)
	rm -f "$BATS_TEST_TMPDIR/in"
	mkfifo "$BATS_TEST_TMPDIR/in"
	exec 9<>"$BATS_TEST_TMPDIR/in"
	{
		until_true grep -qs '^ready' "$BATS_TEST_TMPDIR/out"
		printf '\032\n' >&9
		until_true grep -qs '^again' "$BATS_TEST_TMPDIR/out"
		printf '\003' >&9
	} 3>&- &
	limit 240 script -qefc "$tenon run ${kernel[*]} --rootfs $d -- /bin/sh -c 'echo ready; read x; echo again; exec busybox sleep 200'; echo status=\$?" \
		/dev/null <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" 2>&1 9>&- 3>&-
	wait
	exec 9>&-
	grep -q 'status=130' "$BATS_TEST_TMPDIR/out" || fail "status: $(cat "$BATS_TEST_TMPDIR/out")"
}

@test "rootfs: what can't work is refused with a reason" {
	run "$tenon" run --kernel "$guests/cloud/vmlinuz" --modules "$guests/cloud/modules" --rootfs / -- true
	[ "$status" -eq 1 ] && [[ $output == *9p*linux-image-amd64* ]] || fail "cloud kernel: $output"
	run "$tenon" run --kernel "$guests/cloud/vmlinuz" --modules /nonexistent --rootfs / -- true
	[ "$status" -eq 1 ] && [[ $output == *--modules* ]] || fail "no modules: $output"
	run "$tenon" run --rootfs / ls
	[ "$status" -eq 2 ] && [[ $output == *"-- ls"* ]] || fail "no --: $output"
	run "$tenon" run --rootfs / --initrd x -- ls
	[ "$status" -eq 2 ] && [[ $output == *--initrd* ]] || fail "initrd: $output"
	run "$tenon" run --rootfs /nonexistent -- ls
	[ "$status" -eq 1 ] && [[ $output == */nonexistent* ]] || fail "no directory: $output"
	run "$tenon" run "${kernel[@]}" --rootfs /proc -- ls
	[ "$status" -eq 1 ] && [[ $output == */proc* ]] || fail "/proc: $output"
}
