#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Devices that a machine has by option, as Debian's drivers use them. Oracles: what the guest's kernel says of them, and
# the host's view of the process.

load named

# resident: MiB of memory that the process has, most of it the guest's
resident()
{
	awk '/^RssAnon:/ { print int($2 / 1024) }' "/proc/$pid/status"
}

resident_below()
{
	[ "$(resident)" -lt "$1" ]
}

# has NAME OPERATOR MIB: how much memory it has, as in test(1)
has()
{
	[ "$("$tenon" memory "$1" | sed 's/ MiB//')" "$2" "$3" ]
}

@test "devices: a balloon gives the host memory that the guest has free, and more when told" {
	local before

	with_modules cloud 'insmod /modules/virtio_balloon.ko; echo "T>loaded"
		dd if=/dev/zero of=/tmp/fill bs=1M count=200 2>/dev/null; echo "T>full"; read x
		rm /tmp/fill; echo "T>free"; read x' \
		"$BATS_TEST_TMPDIR/initrd" drivers/virtio/virtio_balloon
	start ball --balloon -m 512M -k "$guests/cloud/vmlinuz" -i "$BATS_TEST_TMPDIR/initrd" -a 'console=ttyS0 quiet'
	until_true grep -q 'to leave' "$console"
	[ "$("$tenon" memory ball)" = "512 MiB" ] || fail "at first it has $("$tenon" memory ball)"
	keys ball '. /test.sh'
	until_true said full
	before=$(resident)
	expect "memory with a file of 200 MiB, MiB" "$before" -ge 200
	keys ball ''
	until_true said free
	# what is free is reported within some seconds, in large pieces
	until_true resident_below $((before - 150))

	"$tenon" memory ball 200M
	until_true has ball -le 201
	"$tenon" memory ball 512M
	until_true has ball -eq 512
	"$tenon" kill ball
	ended
}

@test "devices: without a balloon there is none to set" {
	start none -m 64M -k "$(tiny echo)"
	run "$tenon" memory none 32M
	expect "exit status" "$status" -eq 1
	[[ "$output" == *"--balloon"* ]] || fail "message: $output"
	run "$tenon" memory none 1X
	expect "exit status" "$status" -eq 2
}

@test "devices: a watchdog that the guest starts and forgets resets it; the guest finds its VM generation" {
	with_modules generic 'insmod /modules/watchdog.ko; insmod /modules/i6300esb.ko heartbeat=2 nowayout=1 2>&1 | sed "s/^/T>/"
		echo "T>identity=$(cat /sys/class/watchdog/watchdog0/identity)"
		echo "T>vmgenid=$(ls /sys/bus/acpi/drivers/vmgenid)"
		echo x >/dev/watchdog; sleep 1; echo x >/dev/watchdog; sleep 1; echo "T>served"; sleep 100; echo "T>late"' \
		"$BATS_TEST_TMPDIR/initrd" drivers/watchdog/watchdog drivers/watchdog/i6300esb
	boot dog 120 '. /test.sh' --net none --no-reboot --watchdog reset -m 256M -k "$guests/generic/vmlinuz" \
		-i "$BATS_TEST_TMPDIR/initrd" -a 'console=ttyS0 quiet'
	expect "exit status" "$status" -eq 3
	[ "$(answer identity)" = "i6300ESB timer" ] || fail "identity: $(answer identity)"
	[[ "$(answer vmgenid)" == *TNON0001:00* ]] || fail "vmgenid: $(answer vmgenid)"
	grep -q 'T>served' "$console" || fail "it did not wait"
	! grep -q 'T>late' "$console" || fail "it waited for too long"
	grep -q 'watchdog has expired' "$console.errors" || fail "no message"
}

@test "devices: the HPET drives a guest that has no other timer, and gives its programs interrupts" {
	with_program "$guests/initrd-generic-amd64" hpet "$BATS_TEST_TMPDIR/program"
	with_script "$BATS_TEST_TMPDIR/program" 'cd /sys/devices/system/clocksource/clocksource0
		echo "T>clocks=$(cat available_clocksource)"; echo "T>clock=$(cat current_clocksource)"
		irqs() { awk "/^ *$1:/ { print \$2 }" /proc/interrupts; }
		a=$(irqs 0); sleep 1; echo "T>ticks=$(($(irqs 0) - a))"; echo "T>local=$(irqs LOC)"
		/hpet' "$BATS_TEST_TMPDIR/initrd"
	boot hpet 120 '. /test.sh; poweroff -f' --net none -m 256M -k "$guests/generic/vmlinuz" -i "$BATS_TEST_TMPDIR/initrd" \
		-a 'console=ttyS0 quiet nolapic_timer nohz=off highres=off clocksource=hpet'
	expect "exit status" "$status" -eq 0
	[[ " $(answer clocks) " == *" hpet "* ]] || fail "clocks: $(answer clocks)"
	[ "$(answer clock)" = hpet ] || fail "clock: $(answer clock)"
	expect "timer interrupts in a second" "$(answer ticks)" -ge 20
	expect "interrupts of the local timer" "$(answer local)" -eq 0
	expect "8 interrupts, 16 a second, ms" "$(answer hpet)" -ge 400
	expect "8 interrupts, 16 a second, ms" "$(answer hpet)" -le 3000
}

# exchange SOCKET TEXT: sends a line, prints the first that comes
exchange()
{
	python3 - "$1" "$2" <<-'PY'
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(30)
	s.connect(sys.argv[1])
	s.sendall(sys.argv[2].encode() + b"\n")
	print(s.makefile().readline().strip())
	PY
}

@test "devices: a channel leads from a program in the guest to one on the host" {
	with_modules cloud 'insmod /modules/virtio_console.ko
		until [ -e /dev/vport1p2 ]; do usleep 100000; done
		for p in /sys/class/virtio-ports/*; do echo "T>port=$(basename $p) $(cat $p/name)"; done
		exec 3<>/dev/vport1p2
		while :; do if read line <&3; then echo "you said $line" >&3; else usleep 100000; fi; done' "$BATS_TEST_TMPDIR/initrd" drivers/char/virtio_console
	start chan -m 256M --channel "name=one,path=$BATS_TEST_TMPDIR/one" --channel "name=org.two.0,path=$BATS_TEST_TMPDIR/two" \
		-k "$guests/cloud/vmlinuz" -i "$BATS_TEST_TMPDIR/initrd" -a 'console=ttyS0 quiet'
	until_true grep -q 'to leave' "$console"
	keys chan '. /test.sh'
	until_true said 'port=vport1p2 org.two.0'
	said 'port=vport1p1 one'
	for word in hello again; do
		run exchange "$BATS_TEST_TMPDIR/two" $word
		[ "$output" = "you said $word" ] || fail "it said: $output"
	done
	run "$tenon" run -k "$(tiny echo)" --channel "name=x,path=$BATS_TEST_TMPDIR/one" </dev/null
	expect "exit status with a path that is taken" "$status" -eq 1
	"$tenon" kill chan
	ended
	[ ! -e "$BATS_TEST_TMPDIR/one" ] && [ ! -e "$BATS_TEST_TMPDIR/two" ] || fail "a socket was left behind"
}

# through SOCKET PORT MIB: numbers to a port of the guest, and back; prints what came of it
through()
{
	timeout 60 python3 - "$@" <<-'PY'
	import os, socket, sys, threading
	s = socket.socket(socket.AF_UNIX)
	s.connect(sys.argv[1])
	s.sendall(b"CONNECT %s\n" % sys.argv[2].encode())
	line = b""
	while not line.endswith(b"\n"):
	    c = s.recv(1)
	    if not c:
	        sys.exit("refused")
	    line += c
	if not line.startswith(b"OK "):
	    sys.exit("answer: %r" % line)
	data = os.urandom(int(sys.argv[3]) << 20)
	def send():
	    s.sendall(data)
	    s.shutdown(socket.SHUT_WR)
	threading.Thread(target=send).start()
	back = b"".join(iter(lambda: s.recv(1 << 16), b""))
	print("same" if back == data else "%d bytes, wrong" % len(back))
	PY
}

# echo_at PATH: gives one connection back what it says
echo_at()
{
	timeout 120 python3 - "$1" <<-'PY' 3>&- &
	import socket, sys
	s = socket.socket(socket.AF_UNIX)
	s.bind(sys.argv[1])
	s.listen(1)
	c, _ = s.accept()
	while data := c.recv(1 << 16):
	    c.sendall(data)
	PY
	until_true test -S "$1"
}

@test "devices: sockets between guest and host, both ways, without privileges" {
	local v=$BATS_TEST_TMPDIR/v

	with_modules generic 'for m in vsock vmw_vsock_virtio_transport_common vmw_vsock_virtio_transport; do insmod /modules/$m.ko; done
		/vsock send 77 1; echo "T>nobody=$?"; /vsock send 1234 4; echo "T>sent=$?"; /vsock echo 5000; echo "T>echoed=$?"' \
		"$BATS_TEST_TMPDIR/modules" net/vmw_vsock/vsock net/vmw_vsock/vmw_vsock_virtio_transport_common \
		net/vmw_vsock/vmw_vsock_virtio_transport
	with_program "$BATS_TEST_TMPDIR/modules" vsock "$BATS_TEST_TMPDIR/initrd"
	echo_at "${v}_1234"
	start vsock -m 256M --vsock "cid=42,path=$v" -k "$guests/generic/vmlinuz" -i "$BATS_TEST_TMPDIR/initrd" \
		-a 'console=ttyS0 quiet'
	until_true grep -q 'to leave' "$console"
	run through "$v" 5000 1
	[[ "$output" == *refused* ]] || fail "without a driver: $output"
	keys vsock '. /test.sh'
	until_true said nobody=3
	until_true said sent=
	said sent=0 || fail "sent and read again: status $(answer sent)"
	until_true said listening=5000
	run through "$v" 5001 1
	[[ "$output" == *refused* ]] || fail "to a port where nobody listens: $output"
	run through "$v" 5000 4
	[ "$output" = same ] || fail "through the guest and back: $output"
	until_true said echoed=0
	"$tenon" kill vsock
	ended
	[ ! -e "$v" ] || fail "a socket was left behind"
}

@test "devices: a driver that knows no virtio 1.0 uses a transitional disk and card" {
	local d=$BATS_TEST_TMPDIR

	truncate -s 4M "$d/img"
	with_modules cloud 'rmmod virtio_net virtio_blk virtio_rng virtio_pci
		insmod /modules/virtio_pci.ko force_legacy=1; for m in virtio_blk virtio_net; do insmod /modules/$m.ko; done
		until [ -b /dev/vda ]; do usleep 100000; done
		for i in /sys/bus/virtio/devices/*; do echo "T>features=$(cut -c33 $i/features)"; done
		seq 1 200000 | dd of=/dev/vda bs=4096 conv=fsync 2>/dev/null
		udhcpc -i eth0 -n -q -t 10 2>&1 | sed -n "s/^lease of/T>lease=/p"; echo "T>end"' "$d/initrd" \
		drivers/virtio/virtio_pci drivers/block/virtio_blk drivers/net/virtio_net
	boot legacy 120 '. /test.sh; poweroff -f' --net user,transitional --disk "$d/img,transitional" -m 256M \
		-k "$guests/cloud/vmlinuz" -i "$d/initrd" -a 'console=ttyS0 quiet'
	expect "exit status" "$status" -eq 0
	expect "devices with VIRTIO_F_VERSION_1" "$(grep -c 'T>features=1' "$console")" -eq 0
	expect "devices without" "$(grep -c 'T>features=0' "$console")" -ge 2
	[ "$(head -c "$(seq 1 200000 | wc -c)" "$d/img" | md5sum)" = "$(seq 1 200000 | md5sum)" ] || fail "the disk"
	[[ "$(answer lease)" == *10.0.2.15* ]] || fail "lease: $(answer lease)"
}
