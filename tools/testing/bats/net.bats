#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The network of a real guest. Oracles: programs on the host at the other end, checksums of what they sent.

load named

lease='udhcpc -i eth0 -n -q -t 10 2>&1 | sed -n "s/^lease of/T>lease=/p"'

setup_file()
{
	load guest
	cd "$BATS_FILE_TMPDIR" || return
	mkdir www
	head -c 3000000 /dev/urandom >www/file
	free_ports
	"$guests/busybox-amd64" httpd -f -p "127.0.0.1:$http" -h "$PWD/www" 3>&- &
	echo $! >httpd.pid
}

teardown()
{
	named_teardown
}

teardown_file()
{
	[ ! -s "$BATS_FILE_TMPDIR/httpd.pid" ] || kill "$(cat "$BATS_FILE_TMPDIR/httpd.pid")" 2>/dev/null || true
}

# Three ports that nobody has now.
free_ports()
{
	python3 -c 'import socket
s = [socket.create_server(("127.0.0.1", 0)) for i in range(3)]
print(*[x.getsockname()[1] for x in s])' >ports
	ports
}

ports()
{
	read -r http fwd sink <"$BATS_FILE_TMPDIR/ports"
}

setup()
{
	named_setup
	ports
}

# guest NAME SCRIPT ARGUMENT...: a guest that runs SCRIPT and powers off
guest()
{
	local name=$1

	with_script "$guests/initrd-cloud-amd64" "$2" "$BATS_TEST_TMPDIR/initrd"
	shift 2
	boot "$name" 240 ". /test.sh; poweroff -f" --kernel "$guests/cloud/vmlinuz" --initrd "$BATS_TEST_TMPDIR/initrd" \
		--append "console=ttyS0 quiet" --memory 256M "$@"
	expect "exit status" "$status" -eq 0
}

# in_netns COMMAND...: in a network (and mount) namespace of its own, with its loopback up
in_netns()
{
	local ns="unshare -rnm"

	$ns true 2>/dev/null || ns="unshare -nm"
	$ns sh -c 'ip link set lo up && exec "$@"' sh "$@"
}

@test "net: by default the guest has a card, a lease, and a way to its router" {
	guest default "$lease"'
ping -c 1 -W 5 10.0.2.2 >/dev/null && echo "T>ping=yes"
echo "T>mac=$(cat /sys/class/net/eth0/address)"
echo "T>rng=$(cat /sys/class/misc/hw_random/rng_current)"
echo "T>random=$(head -c 1000 /dev/hwrng | wc -c)"'
	[ "$(answer lease)" = " 10.0.2.15 from 10.0.2.2, router 10.0.2.2, dns 10.0.2.3" ] || fail "lease is $(answer lease)"
	[ "$(answer ping)" = yes ] || fail "the router does not answer a ping"
	[ "$(answer mac)" = 52:54:00:54:4e:01 ] || fail "MAC is $(answer mac)"
	[ "$(answer rng)" = virtio_rng.0 ] || fail "no entropy device: $(answer rng)"
	expect "bytes of entropy" "$(answer random)" -eq 1000
}

@test "net: the host's loopback is out of reach unless permitted" {
	guest refused "$lease"'
wget -q -O - http://10.0.2.2:'"$http"'/file && echo "T>router=reached"
ip addr del 127.0.0.1/8 dev lo 2>/dev/null
wget -q -O - http://0.0.0.0:'"$http"'/file >/dev/null && echo "T>any=reached"
echo "T>end=yes"'
	[ "$(answer end)" = yes ] || fail "the guest did not come to the end"
	! grep -q reached "$console" || fail "the guest reached a server on the host's loopback"
}

# take_sum: in the background, the sum of what comes to port $sink goes to the file "sum"
take_sum()
{
	python3 -c 'import hashlib, socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
c = s.accept()[0]
h = hashlib.md5()
while d := c.recv(65536): h.update(d)
print(h.hexdigest())' "$sink" >"$BATS_TEST_TMPDIR/sum" 3>&- &
}

@test "net: with host-loopback, data arrives unchanged both ways" {
	take_sum
	guest both "$lease"'
wget -q -O - http://10.0.2.2:'"$http"'/file | md5sum | cut -c1-32 | sed "s/^/T>down=/"
ip link set eth0 mtu 1500
wget -q -O - http://10.0.2.2:'"$http"'/file | md5sum | cut -c1-32 | sed "s/^/T>down1500=/"
seq 1 300000 | nc 10.0.2.2 '"$sink"'' --net user,host-loopback
	wait
	local sum
	sum=$(md5sum <"$BATS_FILE_TMPDIR/www/file" | cut -c 1-32)
	[ "$(answer down)" = "$sum" ] || fail "received: $(answer down), sent: $sum"
	[ "$(answer down1500)" = "$sum" ] || fail "received with an MTU of 1500: $(answer down1500), sent: $sum"
	[ "$(cat "$BATS_TEST_TMPDIR/sum")" = "$(seq 1 300000 | md5sum | cut -c 1-32)" ] ||
		fail "the host received $(cat "$BATS_TEST_TMPDIR/sum")"
}

@test "net: hostfwd leads to a server in the guest" {
	{
		for _ in $(seq 200); do
			# A connection that comes before the guest has its address waits for long.
			if grep -qs "T>lease" "$BATS_FILE_TMPDIR/fwd.times" && "$guests/busybox-amd64" wget -q -O - "http://127.0.0.1:$fwd/n" >"$BATS_TEST_TMPDIR/n" 2>/dev/null; then
				break
			fi
			sleep 0.5
		done
	} 3>&- &
	guest fwd "$lease"'
{ printf "HTTP/1.0 200 OK\r\n\r\n"; seq 1 100000; } | timeout 120 nc -l -p 80 >/dev/null' \
		--net "user,hostfwd=tcp::$fwd-:80"
	wait
	[ "$(md5sum <"$BATS_TEST_TMPDIR/n")" = "$(seq 1 100000 | md5sum)" ] || fail "the host read something else"
}

@test "net: a port that is taken is refused" {
	console=$BATS_TEST_TMPDIR/taken
	echo "hostfwd $http" >"$console.command"
	: >"$console"
	status=0
	limit 30 "$tenon" run --kernel "$guests/cloud/vmlinuz" --net "user,hostfwd=tcp::$http-:80" 2>"$console.errors" \
		</dev/null >/dev/null || status=$?
	expect "exit status" "$status" -eq 1
	grep -q "127.0.0.1:$http.*in use" "$console.errors" || fail "no message"
}

@test "net: the guest asks the host's name server" {
	in_netns mount --bind /etc/hostname /etc/resolv.conf 2>/dev/null ||
		skip "this host gives a test no network namespace of its own"
	cat >"$BATS_TEST_TMPDIR/ns.sh" <<-EOF
	echo nameserver 127.0.0.1 >"$BATS_TEST_TMPDIR/resolv.conf"
	mount --bind "$BATS_TEST_TMPDIR/resolv.conf" /etc/resolv.conf
	python3 "$BATS_TEST_DIRNAME/dns.py" 192.0.2.77 >"$BATS_TEST_TMPDIR/ready" &
	trap 'kill \$!' EXIT
	while [ ! -s "$BATS_TEST_TMPDIR/ready" ]; do sleep 0.1; done
	"$tenon" "\$@"
	EOF
	inner=$tenon
	printf '#!/bin/bash\n. "%s"\nin_netns sh "%s" "$@"\n' "$BATS_TEST_TMPDIR/in_netns" "$BATS_TEST_TMPDIR/ns.sh" \
		>"$BATS_TEST_TMPDIR/tenon"
	declare -f in_netns >"$BATS_TEST_TMPDIR/in_netns"
	chmod 755 "$BATS_TEST_TMPDIR/tenon"
	tenon=$BATS_TEST_TMPDIR/tenon
	guest dns "$lease"'
nslookup -type=a host.example.org 2>&1 | sed -n "s/^Address: /T>addr=/p"'
	tenon=$inner
	[ "$(answer addr)" = 192.0.2.77 ] || fail "the address is $(answer addr)"
}

@test "net: --net none is no card" {
	guest none 'ls /sys/class/net | sed "s/^/T>if=/"; echo "T>end=yes"' --net none
	[ "$(answer end)" = yes ] || fail "the guest did not come to the end"
	[ "$(grep -c '^T>if=' "$console")" -eq 1 ] && [ "$(answer if)" = lo ] || fail "there are interfaces"
}

@test "net: two cards are two networks" {
	guest two 'for i in eth0 eth1; do
udhcpc -i $i -n -q -t 10 2>&1 | sed -n "s/^lease of/T>$i=/p"; ip addr flush dev $i; done' --net user --net user,mtu=1400
	[ "$(answer eth0)" = " 10.0.2.15 from 10.0.2.2, router 10.0.2.2, dns 10.0.2.3" ] || fail "eth0: $(answer eth0)"
	[ "$(answer eth1)" = " 10.0.3.15 from 10.0.3.2, router 10.0.3.2, dns 10.0.3.3" ] || fail "eth1: $(answer eth1)"
}

# Types again when the guest has come up a second time.
twice()
{
	local n

	echo ". /test.sh; reboot -f"
	for n in $(seq 400); do
		[ "$(grep -c 'Tenon guest: type' "$console.times")" -lt 2 ] || break
		sleep 0.5
	done
	echo ". /test.sh; poweroff -f"
}

@test "net: the network outlives a reset of the guest" {
	GUEST_FEED=twice guest reset "$lease"'
wget -q -O - http://10.0.2.2:'"$http"'/file | md5sum | cut -c1-32 | sed "s/^/T>down=/"' --net user,host-loopback
	[ "$(grep -c "^T>down=$(md5sum <"$BATS_FILE_TMPDIR/www/file" | cut -c 1-32)" "$console")" -eq 2 ] ||
		fail "not twice the same data"
}

# tap_guest NAME SCRIPT ARGUMENT...: the same in a namespace with a bridge br0, the host's end of which is 10.9.0.1
tap_guest()
{
	local inner=$tenon d=$BATS_TEST_TMPDIR

	[ "$(id -u)" = 0 ] || in_netns true || skip "this host gives a test no network namespace of its own"
	[ -e /dev/net/tun ] || skip "this host has no /dev/net/tun"
	in_netns ip link add br0 type bridge 2>/dev/null || skip "this host has no bridges"
	cat >"$d/ns.sh" <<-EOF
	ip link add br0 type bridge
	ip addr add 10.9.0.1/24 dev br0
	ip link set br0 up
	"$guests/busybox-amd64" httpd -f -p 10.9.0.1:80 -h "$BATS_FILE_TMPDIR/www" &
	web=\$!
	(for i in \$(seq 100); do ip -o link >>"$d/links"; sleep 0.3; done) &
	watch=\$!
	"$tenon" "\$@"
	status=\$?
	kill \$web \$watch
	ip -o link >"$d/left"
	exit \$status
	EOF
	printf '#!/bin/bash\n. "%s"\nin_netns sh "%s" "$@"\n' "$d/in_netns" "$d/ns.sh" >"$d/tenon"
	declare -f in_netns >"$d/in_netns"
	chmod 755 "$d/tenon"
	tenon=$d/tenon
	guest "$@"
	tenon=$inner
}

@test "net: tap: an interface on a bridge, data both ways, gone at the end" {
	tap_guest tap 'ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up
echo "T>mtu=$(cat /sys/class/net/eth0/mtu)"
n=0; while [ $n -lt 50 ] && ! ping -c 1 -W 1 10.9.0.1 >/dev/null; do n=$((n + 1)); done; [ $n -lt 50 ] && echo "T>ping=yes"
wget -q -O - http://10.9.0.1/file | md5sum | cut -c1-32 | sed "s/^/T>down=/"
dmesg | grep -iE "bad gso|incorrect checksum|hw csum|rx error" | sed "s/^/T>bad=/"' --net tap,ifname=vm0,bridge=br0,mtu=1400
	[ "$(answer mtu)" -eq 1400 ] || fail "MTU is $(answer mtu)"
	[ "$(answer ping)" = yes ] || fail "the bridge does not answer a ping"
	[ "$(answer down)" = "$(md5sum <"$BATS_FILE_TMPDIR/www/file" | cut -c 1-32)" ] || fail "received: $(answer down)"
	[ -z "$(answer bad)" ] || fail "the kernel complained: $(answer bad)"
	grep -q ' vm0: .*[<,]UP[,>].*mtu 1400 .*master br0' "$BATS_TEST_TMPDIR/links" || fail "no interface on the bridge"
	! grep -q vm0 "$BATS_TEST_TMPDIR/left" || fail "the interface was left behind"
}

@test "net: tap: more data at once than the guest has buffers for" {
	head -c 8000000 /dev/urandom >"$BATS_FILE_TMPDIR/www/big"
	tap_guest tapbig 'ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up
n=0; while [ $n -lt 50 ] && ! ping -c 1 -W 1 10.9.0.1 >/dev/null; do n=$((n + 1)); done
for i in $(seq 12); do timeout 60 wget -q -O - http://10.9.0.1/big | md5sum | cut -c1-32 | sed "s/^/T>down$i=/" & done; wait' \
		--net tap,ifname=vm0,bridge=br0
	for i in $(seq 12); do
		[ "$(answer "down$i")" = "$(md5sum <"$BATS_FILE_TMPDIR/www/big" | cut -c 1-32)" ] || fail "received: $(answer "down$i")"
	done
}

@test "net: tap: a card on a bridge is added to a machine that runs, and removed" {
	local d=$BATS_TEST_TMPDIR

	[ "$(id -u)" = 0 ] || in_netns true || skip "this host gives a test no network namespace of its own"
	[ -e /dev/net/tun ] || skip "this host has no /dev/net/tun"
	in_netns ip link add br0 type bridge 2>/dev/null || skip "this host has no bridges"
	console=$d/console
	echo "tenon device add" >"$console.command"
	cat >"$d/ns.sh" <<-EOF
	export XDG_RUNTIME_DIR=$d
	ip link add br0 type bridge
	ip addr add 10.9.0.1/24 dev br0
	ip link set br0 up
	"$tenon" run --net none --name plug -m 256M -k "$guests/cloud/vmlinuz" -i "$guests/initrd-cloud-amd64" \
		-a 'console=ttyS0 quiet' >"$console" 2>"$console.errors" </dev/null &
	for i in \$(seq 600); do ! grep -q 'to leave' "$console" || break; sleep 0.1; done
	"$tenon" device add plug card --net tap,ifname=vm0,bridge=br0,mtu=1400 || exit
	ip -o link >"$d/links"
	echo 'until [ -e /sys/class/net/eth0 ]; do usleep 100000; done; ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up
		echo "T>mtu=\$(cat /sys/class/net/eth0/mtu)"; echo "T>up"' | timeout 2 "$tenon" console plug >/dev/null
	for i in \$(seq 60); do ! "$guests/busybox-amd64" ping -c 1 -W 1 10.9.0.2 >/dev/null || { echo ping=yes >"$d/result"; break; }; sleep 0.1; done
	"$tenon" device remove plug card
	echo "remove=\$?" >>"$d/result"
	ip -o link >"$d/left"
	"$tenon" kill plug
	wait
	EOF
	in_netns timeout $((120 * ${TENON_SLOW:-1})) sh "$d/ns.sh"
	status=none
	grep -q ' vm0: .*[<,]UP[,>].*mtu 1400 .*master br0' "$d/links" || fail "no interface on the bridge"
	grep -q T.mtu=1400 "$console" || fail "MTU is $(answer mtu)"
	grep -q ping=yes "$d/result" || fail "the guest does not answer a ping"
	grep -q remove=0 "$d/result" || fail "the card was not removed"
	! grep -q vm0 "$d/left" || fail "the interface was left behind"
}

# A name that no other run of these tests has.
name=plug-$$

# serves ID: the process that is the network of a card: what is left of the command that added it
serves()
{
	pgrep -f "^$tenon device add $name $1 --net user"
}

nobody_serves()
{
	! serves '[a-z]*' >/dev/null
}

# nobody_on PORT: is it free?
nobody_on()
{
	python3 -c 'import socket, sys; socket.create_server(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null
}

@test "net: user: a card is added to a machine that runs, data both ways, and its process ends with it" {
	local sum

	sum=$(md5sum <"$BATS_FILE_TMPDIR/www/file" | cut -c 1-32)
	take_sum
	linux "$name"
	# It comes with what its caller has open, and keeps nothing of it: the pipe of "run" has an end.
	run "$tenon" device add "$name" card --net "user,host-loopback,hostfwd=tcp::$fwd-:80"
	expect "exit status" "$status" -eq 0
	process=$(serves card)
	! nobody_on "$fwd" || fail "the command has succeeded, and the port is not there"
	grep -q '^Seccomp:.*2$' "/proc/$process/status" && grep -q '^CapPrm:.*0000000000000000$' "/proc/$process/status" ||
		fail "the process is not confined"
	run "$tenon" device add "$name" second --net "user,hostfwd=tcp::$fwd-:80"
	[ "$status" = 1 ] && [[ "$output" == *"$fwd"*"in use"* ]] || fail "a port that is taken: status $status, $output"
	! serves second || fail "a card that was not added has a process"
	"$tenon" device add "$name" second --net user,mtu=1400,mac=52:54:00:aa:bb:cc
	run "$tenon" device ls "$name"
	[[ "${#lines[@]}" = 2 && "${lines[0]}" == card*virtio-net-pci*"user 10.0.6.0/24" && "${lines[1]}" == second*"user 10.0.7.0/24" ]] ||
		fail "devices: $output"
	keys "$name" 'until [ -e /sys/class/net/eth1 ]; do usleep 100000; done
for i in eth0 eth1; do udhcpc -i $i -n -q -t 10 2>&1 | sed -n "s/^lease of/T>$i=/p"; done; ip addr flush dev eth1
echo "T>second=$(cat /sys/class/net/eth1/mtu) $(cat /sys/class/net/eth1/address)"
for i in 1 2 3 4; do wget -q -O - http://10.0.6.2:'"$http"'/file | md5sum | cut -c1-32 | sed "s/^/T>down$i=/" & done; wait
ip link set eth0 mtu 1500
wget -q -O - http://10.0.6.2:'"$http"'/file | md5sum | cut -c1-32 | sed "s/^/T>down1500=/"
seq 1 300000 | nc 10.0.6.2 '"$sink"'; echo T\>up
{ printf "HTTP/1.0 200 OK\r\n\r\n"; seq 1 100000; } | timeout 120 nc -l -p 80 >/dev/null & echo T\>listens'
	until_true said listens
	said 'eth0= 10.0.6.15 from 10.0.6.2, router 10.0.6.2, dns 10.0.6.3' || fail "lease of the first: $(answer eth0)"
	said 'eth1= 10.0.7.15 from 10.0.7.2' || fail "lease of the second: $(answer eth1)"
	said 'second=1400 52:54:00:aa:bb:cc' || fail "MTU and address of the second: $(answer second)"
	for i in 1 2 3 4 1500; do
		said "down$i=$sum" || fail "received: $(answer "down$i"), sent: $sum"
	done
	[ "$(cat "$BATS_TEST_TMPDIR/sum")" = "$(seq 1 300000 | md5sum | cut -c 1-32)" ] ||
		fail "the host received $(cat "$BATS_TEST_TMPDIR/sum")"
	limit 60 "$guests/busybox-amd64" wget -q -O "$BATS_TEST_TMPDIR/n" "http://127.0.0.1:$fwd/n" || fail "no answer by hostfwd"
	[ "$(md5sum <"$BATS_TEST_TMPDIR/n")" = "$(seq 1 100000 | md5sum)" ] || fail "the host read something else"

	"$tenon" device remove "$name" card
	until_true eval '! serves card'
	until_true nobody_on "$fwd"
	serves second || fail "the other card has lost its process"
	# Port and network are those of the next one.
	"$tenon" device add "$name" card --net "user,hostfwd=tcp::$fwd-:80"
	[[ "$("$tenon" device ls "$name")" == *card*"user 10.0.6.0/24"* ]] || fail "devices: $("$tenon" device ls "$name")"
	serves card && serves second
	kill -KILL "$pid"
	ended
	until_true nobody_serves
	until_true nobody_on "$fwd"
}

@test "net: user: the process of a card that was added stops, goes on, and is lost, and the machine lives" {
	linux "$name"
	"$tenon" device add "$name" card --net user
	keys "$name" 'until [ -e /sys/class/net/eth0 ]; do usleep 100000; done; ip addr add 10.0.6.15/24 dev eth0; ip link set eth0 up
ping -c 1 -W 5 10.0.6.2 >/dev/null && echo T\>ping=yes'
	until_true said ping=yes
	# One that does nothing holds up the card, and nothing else; then what waited goes on.
	process=$(serves card)
	kill -STOP "$process"
	keys "$name" '{ dd if=/dev/zero bs=60000 count=400 2>/dev/null | nc -u 10.0.6.2 9; } & sleep 1
ping -c 1 -W 2 10.0.6.2 >/dev/null || echo T\>stopped=yes'
	until_true said stopped=yes
	kill -CONT "$process"
	keys "$name" 'kill %1; n=0; until ping -c 1 -W 2 10.0.6.2 >/dev/null || [ $n = 20 ]; do n=$((n + 1)); done; [ $n = 20 ] || echo T\>again=yes'
	until_true said again=yes
	kill -KILL "$process"
	until_true grep -q "has lost its network" "$console.errors"
	keys "$name" 'ping -c 1 -W 2 10.0.6.2 >/dev/null || echo T\>ping=no'
	until_true said ping=no
	"$tenon" device remove "$name" card
	[ -z "$("$tenon" device ls "$name")" ] || fail "the card is still there"
	"$tenon" kill "$name"
	ended
	expect "exit status" "$status" -eq 143
}

@test "net: tap: what is not there, or not allowed, is refused" {
	local arg

	console=$BATS_TEST_TMPDIR/bad
	: >"$console"
	[ -e /dev/net/tun ] || skip "this host has no /dev/net/tun"
	for arg in tap,bridge=nobridge tap,ifname=lo tap,bridge=lo; do
		echo "--net $arg" >"$console.command"
		status=0
		in_netns "$tenon" run --kernel "$guests/cloud/vmlinuz" --net "$arg" 2>"$console.errors" </dev/null >/dev/null ||
			status=$?
		expect "exit status" "$status" -eq 1
		grep -q -e "--net tap: " "$console.errors" || fail "no message"
	done
}

@test "net: nonsense is refused" {
	local arg

	console=$BATS_TEST_TMPDIR/bad
	: >"$console"
	for arg in lan user,hostfwd=22 user,frobnicate tap,bridge=; do
		echo "--net $arg" >"$console.command"
		status=0
		limit 30 "$tenon" run --kernel "$guests/cloud/vmlinuz" --net "$arg" 2>"$console.errors" </dev/null >/dev/null ||
			status=$?
		expect "exit status" "$status" -eq 2
		grep -q -e --net "$console.errors" || fail "no message"
	done
}
