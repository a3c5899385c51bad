#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Named machines: the control socket and the commands that use it. Oracles: QEMU's protocol specification (greeting,
# handshake, error classes), the guest's own words, and the host's view of processes and files.

load guest

setup()
{
	load guest
	named_setup
}

teardown()
{
	named_teardown
}

# linux NAME ARGUMENT...: one with a shell
linux()
{
	start "$1" -k "$guests/cloud/vmlinuz" -i "$guests/initrd-cloud-amd64" -a 'console=ttyS0 quiet' -m 256M "${@:2}"
	until_true grep -q 'to leave' "$console"
}

# qmp NAME LINE...: what the socket says to these lines, one after the other
qmp()
{
	python3 - "$sock/$1.sock" "${@:2}" <<-'PY'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(20)
	s.connect(sys.argv[1])
	f = s.makefile("rwb")
	print(f.readline().decode().strip())
	for line in sys.argv[2:]:
	    f.write(line.encode() + b"\n")
	    f.flush()
	    answer = f.readline().decode().strip()
	    while '"event"' in answer:
	        print(answer)
	        answer = f.readline().decode().strip()
	    print(answer)
	PY
}

@test "control: greeting, handshake, queries and errors as the protocol has them" {
	start proto --kernel "$(tiny echo)" -c 2
	run qmp proto '{"execute":"query-status"}' '{"execute":"qmp_capabilities","id":7}' '{"execute":"query-status"}' \
		'{"execute":"query-name"}' '{"execute":"query-cpus-fast"}' '{"execute":"no-such"}' 'nonsense' '{"execute":5}' \
		'{"execute":"stop","arguments":{"x":1}}' '{"execute":"query-commands"}' '{"execute":"query-version"}'
	[[ "${lines[0]}" == '{"QMP":{"version":{"qemu":{'*'"capabilities":[]}}' ]] || fail "greeting: ${lines[0]}"
	[[ "${lines[1]}" == *'"class":"CommandNotFound"'* ]] || fail "before the handshake: ${lines[1]}"
	[ "${lines[2]}" = '{"return":{},"id":7}' ] || fail "handshake: ${lines[2]}"
	[[ "${lines[3]}" == *'"status":"running"'*'"running":true'* ]] || fail "status: ${lines[3]}"
	[[ "${lines[4]}" == *'"name":"proto"'* ]] || fail "name: ${lines[4]}"
	tid=$(grep -o '"thread-id":[0-9]*' <<<"${lines[5]}" | tail -n 1 | cut -d : -f 2)
	[ "$(cat "/proc/$pid/task/$tid/comm")" = vcpu1 ] || fail "threads: ${lines[5]}"
	[[ "${lines[6]}" == *'"class":"CommandNotFound"'* ]] || fail "unknown: ${lines[6]}"
	[[ "${lines[7]}${lines[8]}${lines[9]}" == *GenericError*GenericError*GenericError* ]] || fail "bad requests: ${lines[*]}"
	[[ "${lines[10]}" == *'"name":"system_powerdown"'* ]] || fail "commands: ${lines[10]}"
	[[ "${lines[11]}" == *"tenon $(cat "$top/VERSION")"* ]] || fail "version: ${lines[11]}"
	"$tenon" kill proto
	ended
	expect "exit status" "$status" -eq 143
	[ -z "$(ls "$sock")" ] || fail "left behind: $(ls "$sock")"
}

@test "control: ls, pause, resume, console, stats and stop on a Linux guest" {
	linux box
	[ "$("$tenon" ls | tr -s ' ')" = "box running" ] || fail "ls: $("$tenon" ls)"
	[ "$(stat -c %a "$sock" "$sock/box.sock" | tr '\n' ' ')" = "700 600 " ] || fail "modes: $(ls -la "$sock")"

	{ exec 3>&-; echo 'echo "T>n=$((40 + 2))"; while :; do echo tick; sleep 0.2; done'; sleep 3; } |
		limit 60 "$tenon" console box >"$console.attached" 3>&- &
	until_true grep -q 'T>n=42' "$console.attached"
	until_true grep -q '^tick' "$console"

	"$tenon" pause box
	[ "$("$tenon" ls | tr -s ' ')" = "box paused" ] || fail "ls: $("$tenon" ls)"
	sleep 1
	a=$(grep -c '^tick' "$console"); sleep 2; b=$(grep -c '^tick' "$console")
	expect "lines while paused" $((b - a)) -eq 0
	"$tenon" resume box
	until_true sh -c "[ \$(grep -c '^tick' '$console') -gt $b ]"
	"$tenon" stats box | grep -q '^vcpu0: insns are counted with --stats only, blocks [1-9]' || fail "stats: $("$tenon" stats box)"

	# The power button finds no listener in this guest: stop gives up, kill does not.
	run "$tenon" stop --timeout 1 box
	expect "status of stop" "$status" -eq 1
	[[ "$output" == *"still runs after 1 seconds"* ]] || fail "message: $output"
	"$tenon" kill box
	ended
	expect "exit status" "$status" -eq 143
}

@test "control: a name is taken once, and free again after a crash" {
	start twin --kernel "$(tiny echo)"
	run "$tenon" run --net none --name twin --kernel "$(tiny echo)" </dev/null
	expect "status of the second" "$status" -eq 1
	[[ "$output" == *"runs already"* ]] || fail "message: $output"
	kill -KILL "$pid"; wait "$pid" 2>/dev/null || true
	[ -S "$sock/twin.sock" ] || fail "the crash left no socket: the test tests nothing"
	[ -z "$("$tenon" ls)" ] || fail "ls names a dead one: $("$tenon" ls)"
	run "$tenon" pause twin
	expect "status of pause" "$status" -eq 1
	[[ "$output" == *"there is no machine 'twin'"* ]] || fail "message: $output"
	start twin --kernel "$(tiny echo)"
	until_true sh -c "[ -n \"\$('$tenon' ls)\" ]"
	"$tenon" kill twin
	ended
}

@test "control: a guest's reset and end are events, and a client that floods or stalls harms nobody" {
	start noisy --kernel "$(tiny echo)"
	# 8 connections that say nothing, a ninth that is refused, a line without end
	python3 - "$sock/noisy.sock" <<-'PY'
	import socket, sys
	def conn():
	    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]); return s
	idle = [conn() for i in range(8)]
	for s in idle: assert s.recv(4096).startswith(b'{"QMP"')
	assert conn().recv(10) == b"", "a ninth was served"
	idle[0].sendall(b"x" * 65536)
	assert idle[0].recv(10) == b"", "a line without end was kept"
	s = conn()
	f = s.makefile("rwb"); f.readline()
	f.write(b'{"execute":"qmp_capabilities"}\n{"execute":"stop"}\n{"execute":"cont"}\n{"execute":"system_reset"}\n'); f.flush()
	seen = b""
	while b'"RESET"' not in seen: seen += f.readline()
	assert b'"RESUME"' in seen, seen
	f.write(b'{"execute":"quit"}\n'); f.flush()
	rest = f.read()
	assert b'"SHUTDOWN"' in rest and b'"guest":false' in rest, rest
	PY
	ended
	expect "exit status" "$status" -eq 143
}

@test "control: a directory that others can enter is refused" {
	mkdir -m 777 "$sock"
	run "$tenon" run --net none --name x --kernel "$(tiny echo)" </dev/null
	expect "status" "$status" -eq 1
	[[ "$output" == *"others could get at it"* ]] || fail "message: $output"
	run "$tenon" run --name ../x --kernel "$(tiny echo)" </dev/null
	expect "status" "$status" -eq 2
}

# threads FIELD: its values in all threads of the machine
threads()
{
	sed -n "s/^$1:[[:space:]]*//p" /proc/"$pid"/task/*/status | sort -u | tr '\n' ' '
}

@test "control: every thread of a running machine is confined, unless --sandbox off" {
	mkdir "$BATS_TEST_TMPDIR/share"
	linux boxed -c 2 --share "$BATS_TEST_TMPDIR/share,ro"
	[ "$(threads Seccomp)" = "2 " ] || fail "filters: $(threads Seccomp)"
	[ "$(threads NoNewPrivs)" = "1 " ] || fail "no_new_privs: $(threads NoNewPrivs)"
	# as root, the 9p threads read what is not theirs
	[[ "$(threads CapEff)" =~ ^0000000000000000\ (0000000000000004\ )?$ ]] || fail "capabilities: $(threads CapEff)"
	[ "$(threads CapPrm)" = "$(threads CapEff)" ] || fail "permitted: $(threads CapPrm)"
	"$tenon" kill boxed
	ended
	expect "exit status" "$status" -eq 143

	linux open --sandbox off
	[ "$(threads Seccomp)" = "0 " ] || fail "filters with --sandbox off: $(threads Seccomp)"
}
