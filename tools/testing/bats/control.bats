#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Named machines: the control socket and the commands that use it. Oracles: QEMU's protocol specification (greeting,
# handshake, error classes), the guest's own words, and the host's view of processes and files.

load named

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

	{ exec 3>&-; echo 'echo "T>n=$((40 + 2))"; while :; do echo tick $(cut -d " " -f 1 /proc/uptime); sleep 0.2; done'; sleep 3; } |
		limit 60 "$tenon" console box >"$console.attached" 3>&- &
	until_true grep -q 'T>n=42' "$console.attached"
	until_true grep -q '^tick' "$console"

	"$tenon" pause box
	[ "$("$tenon" ls | tr -s ' ')" = "box paused" ] || fail "ls: $("$tenon" ls)"
	sleep 1
	a=$(grep -c '^tick' "$console"); sleep 2; b=$(grep -c '^tick' "$console")
	expect "lines while paused" $((b - a)) -eq 0
	"$tenon" resume box
	until_true sh -c "[ \$(grep -c '^tick' '$console') -gt $((b + 5)) ]"
	# It has not noticed: its clock stood as well.
	gap=$(awk '/^tick [0-9.]+\r?$/ { if (last && $2 - last > gap) gap = $2 - last; last = $2 } END { print int(gap * 1000) }' "$console")
	expect "most that passed for the guest from one line to the next, ms" "$gap" -le 2000
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

@test "control: disks are added to a machine that runs, used, and removed" {
	local dir=$BATS_TEST_TMPDIR

	truncate -s 4M "$dir/a b.img"
	# An image on an image on a file, which only its client can open.
	truncate -s 64M "$dir/base.raw"
	seq 100000 | dd of="$dir/base.raw" bs=1M seek=48 conv=notrunc 2>/dev/null
	below=$(md5sum <"$dir/base.raw")
	qemu-img create -q -f qcow2 -b base.raw -F raw "$dir/middle.qcow2"
	qemu-img create -q -f qcow2 -b middle.qcow2 -F qcow2 "$dir/c.qcow2"
	linux plug
	"$tenon" device add plug first --disk "$dir/a b.img,serial=S1"
	"$tenon" device add plug second --disk "$dir/c.qcow2"
	run "$tenon" device add plug first --disk "$dir/c.qcow2"
	expect "exit status for an image in use" "$status" -eq 1
	run "$tenon" device add plug third --disk "$dir/nothing.img"
	expect "exit status for an image that is not there" "$status" -eq 1
	run "$tenon" run -k "$(tiny echo)" --disk "$dir/a b.img" </dev/null
	expect "exit status of another machine with it" "$status" -eq 1
	run "$tenon" device ls plug
	[[ "${lines[0]}" == first*virtio-blk-pci*"a b.img" && "${lines[1]}" == second*c.qcow2 ]] || fail "devices: $output"
	keys plug 'until [ -b /dev/vdb ]; do usleep 100000; done; for d in vda vdb; do echo "T>$d=$(cat /sys/block/$d/serial)"
		seq 1 200000 | dd of=/dev/$d bs=4096 conv=fsync 2>/dev/null; done; echo "T>written"'
	until_true said written
	said vda=S1 && said vdb=second || fail "serial numbers"
	keys plug 'echo "T>below=$(dd if=/dev/vdb bs=1M skip=48 2>/dev/null | head -c 588895 | md5sum | cut -c1-32)"'
	until_true said 'below=[0-9a-f]'
	said "below=$(seq 100000 | md5sum | cut -c 1-32)" || fail "the backing file does not show: $(grep below "$console")"
	"$tenon" device remove plug first
	"$tenon" device remove plug second
	[ -z "$("$tenon" device ls plug)" ] || fail "devices are left"
	[ "$(head -c "$(seq 1 200000 | wc -c)" "$dir/a b.img" | md5sum)" = "$(seq 1 200000 | md5sum)" ] || fail "the raw image"
	"$tenon" img check "$dir/c.qcow2"
	qemu-img convert -O raw "$dir/c.qcow2" "$dir/c.raw"
	[ "$(head -c "$(seq 1 200000 | wc -c)" "$dir/c.raw" | md5sum)" = "$(seq 1 200000 | md5sum)" ] || fail "the qcow2 image"
	[ "$(md5sum <"$dir/base.raw")" = "$below" ] || fail "the backing file has changed"
	# Nothing is left of the chain.
	"$tenon" device add plug second --disk "$dir/c.qcow2,ro"
	"$tenon" device remove plug second
	run "$tenon" device add plug second --disk "$dir/c.qcow2,backing=none"
	expect "exit status for one whose backing file is not wanted" "$status" -eq 1
	run qmp plug '{"execute":"qmp_capabilities"}' \
		'{"execute":"blockdev-del","arguments":{"node-name":"second.1"}}' '{"execute":"blockdev-del","arguments":{"node-name":"second"}}'
	[[ "${lines[2]}" == *'none of that name'* && "${lines[3]}" == *'none of that name'* ]] || fail "left behind: $output"
	keys plug 'ls /sys/block | grep -q vd || echo "T>gone"'
	until_true said gone
	# The same again, read-only; it stays over a reset.
	"$tenon" device add plug third --disk "$dir/a b.img,ro"
	keys plug 'until [ -b /dev/vda ]; do usleep 100000; done; echo "T>ro=$(cat /sys/block/vda/ro)"; reboot -f'
	until_true said ro=1
	[ "$(grep -c 'to leave' "$console")" -ge 1 ]
	until_true eval '[ "$(grep -c "to leave" "$console")" -eq 2 ]'
	keys plug 'echo "T>again=$(dd if=/dev/vda bs=4096 count=8 2>/dev/null | md5sum | cut -c1-32)"'
	until_true said again=
	said "again=$(head -c 32768 "$dir/a b.img" | md5sum | cut -c 1-32)" || fail "after a reset: $(grep again "$console")"
	"$tenon" device remove plug third
	"$tenon" kill plug
	ended
}

@test "control: a guest that does not let go of a device keeps it" {
	truncate -s 1M "$BATS_TEST_TMPDIR/img"
	start keeps --kernel "$(tiny echo)"
	"$tenon" device add keeps disk --disk "$BATS_TEST_TMPDIR/img"
	run "$tenon" device remove --timeout 1 keeps disk
	expect "exit status" "$status" -eq 1
	[[ "$output" == *"has not let go"* ]] || fail "message: $output"
	[[ "$("$tenon" device ls keeps)" == disk* ]] || fail "it is gone"
	run "$tenon" device remove keeps other
	expect "exit status for one that there is not" "$status" -eq 1
	run "$tenon" device add keeps net --net user,ifname=x
	expect "exit status for a network with a wrong option" "$status" -eq 2
	run qmp keeps '{"execute":"qmp_capabilities"}' '{"execute":"getfd","arguments":{"fdname":"x"}}' '{"execute":"device_add"}' \
		'{"execute":"blockdev-add","arguments":{"node-name":"n","driver":"raw","x-fd":"x","filename":"f","x":1}}' \
		'{"execute":"closefd","arguments":{"fdname":"x\u0000y"}}'
	[[ "${lines[2]}" == *'No file descriptor'* ]] || fail "no descriptor: ${lines[2]}"
	[[ "${lines[3]}" == *'The command takes driver (string)'* ]] || fail "no arguments: ${lines[3]}"
	[[ "${lines[4]}" == *error* && "${lines[5]}" == *error* ]] || fail "wrong arguments: ${lines[4]} ${lines[5]}"
	# A descriptor is that of the command it came with, or nobody's.
	run python3 - "$sock/keeps.sock" <<-'PY'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(20)
	s.connect(sys.argv[1])
	f = s.makefile("r")
	f.readline()
	for line, fds in (('{"execute":"qmp_capabilities"}', [0]), ('{"execute":"getfd","arguments":{"fdname":"a/b"}}', [0]),
	                  ('{"execute":"getfd","arguments":{"fdname":"y"}}', []),
	                  ('{"execute":"getfd","arguments":{"fdname":"y"}}', [0])):
	    socket.send_fds(s, [line.encode() + b"\n"], fds)
	    print(f.readline().strip())
	# Two at once, and nobody knows which one the first request was about.
	for bad in ('{"execute":"getfd"}', '{"execute":"getfd",'):
	    socket.send_fds(s, [bad.encode() + b'\n{"execute":"getfd","arguments":{"fdname":"z"}}\n'], [0, 1])
	    print(f.readline().strip(), f.readline().strip())
	PY
	[[ "${lines[1]}" == *'A name has'* && "${lines[2]}" == *'No file descriptor'* && "${lines[3]}" == *return* ]] ||
		fail "descriptors: $output"
	[[ "${lines[4]}" == *'The command takes'*'No file descriptor'* && "${lines[5]}" == *'parse error'*'No file descriptor'* ]] ||
		fail "two descriptors: $output"
	# A network by a socket: which one, and how, or no network.
	run python3 - "$sock/keeps.sock" <<-'PY'
	import json, socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(20)
	s.connect(sys.argv[1])
	f = s.makefile("r")
	f.readline()
	def say(command, fds=[], **args):
	    socket.send_fds(s, [json.dumps({"execute": command, "arguments": args}).encode() + b"\n"], fds)
	    print(f.readline().strip())
	say("qmp_capabilities")
	fd = {"type": "fd", "str": "n"}
	n = {"type": "dgram", "id": "n"}
	say("netdev_add", **n)
	say("netdev_add", **n, local={"type": "unix", "path": "/x"})
	say("netdev_add", **n, local={"type": None, "str": "n"})
	say("netdev_add", **n, local=fd)
	say("netdev_add", **n, local=fd, **{"x-vnet-hdr": True, "vhost": True})
	say("netdev_add", type="tap", id="n", **{"x-mac": "52:54:00:00:00:01"})
	pairs = [socket.socketpair(socket.AF_UNIX, t) for t in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_SEQPACKET)]
	for p in pairs:
	    say("getfd", [p[0].fileno()], fdname="n")
	    say("netdev_add", **n, local=fd, **{"x-vnet-hdr": True})
	say("netdev_del", id="n")
	PY
	[[ "${lines[1]}${lines[2]}${lines[3]}" == *'takes local'*'takes local'*'takes local'* ]] || fail "no socket: $output"
	[[ "${lines[4]}" == *'x-vnet-hdr says'* && "${lines[5]}" == *'takes local'* && "${lines[6]}" == *'A tap takes'* ]] ||
		fail "other arguments: $output"
	[[ "${lines[8]}${lines[10]}" == *'no AF_UNIX socket'*'no AF_UNIX socket'* ]] || fail "sockets of another type: $output"
	[ "${lines[12]}" = '{"return":{"x-index":4}}' ] && [ "${lines[13]}" = '{"return":{}}' ] || fail "the right type: $output"
	# It leaves at a reset, and the file is free again once it is removed.
	qmp keeps '{"execute":"qmp_capabilities"}' '{"execute":"system_reset"}' >/dev/null
	until_true eval '[ -z "$("$tenon" device ls keeps)" ]'
	"$tenon" device remove keeps disk
	"$tenon" device add keeps disk --disk "$BATS_TEST_TMPDIR/img"
	"$tenon" kill keeps
	ended
}
