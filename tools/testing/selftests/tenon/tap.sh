#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# In the test bed: a guest on the module with a card on a tap interface, data both ways. TAP.
#
#	tap.sh KO TENON GUESTS CASE...
#
#	vhost:CPUS[:ARGS]	by the kernel's vhost-net; ARGS go to the guest's command line
#	split:CPUS[:ARGS]	the same with the IOAPIC in the launcher: its thread passes on the interrupts
#	thread:CPUS[:ARGS]	without vhost-net
#
# Oracles: checksums by the programs at the other end; what the kernel says of its threads.
set -uo pipefail
ko=$1 tenon=$2 guests=$3
shift 3
d=$(mktemp -d)
bb=$guests/busybox-amd64

# Of the launcher's thread that has the card, or of the kernel's: how often it waited for something.
waits()
{
	awk '/^voluntary_ctxt_switches/ { print $2 }' /proc/"$pid"/task/"$1"/status
}

thread()
{
	grep -lx "$1" /proc/"$pid"/task/*/comm | cut -d / -f 5
}

# What the guest runs: transfers before and after its driver sets the device up anew.
cat >"$d/test.sh" <<'GUEST'
card()
{
	ip addr add 10.9.0.2/24 dev eth0
	ip link set eth0 up
	n=0
	until ping -c 1 -W 2 10.9.0.1 >/dev/null 2>&1 || [ $n -gt 60 ]; do n=$((n + 1)); sleep 1; done
}
transfer()
{
	wget -q -O - http://10.9.0.1:8080/file | md5sum | cut -c1-32 | sed "s/^/T>down$1=/"
	seq 1 200000 | nc 10.9.0.1 9001
}
card
transfer 1
echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind
echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind
card
transfer 2
echo "T>end=yes"
sleep 4
poweroff -f
GUEST

served()
{
	local n

	mkdir -p "$d/www"
	[ -s "$d/www/file" ] || head -c 6000000 /dev/urandom >"$d/www/file"
	n=0
	until ip addr add 10.9.0.1/24 dev bed0 2>/dev/null || [ $((n += 1)) -gt 600 ]; do sleep 0.2; done
	"$bb" httpd -f -p 10.9.0.1:8080 -h "$d/www" &
	http=$!
	python3 -c 'import hashlib, socket
s = socket.create_server(("10.9.0.1", 9001))
for i in range(2):
	c = s.accept()[0]
	h = hashlib.md5()
	while d := c.recv(65536): h.update(d)
	c.close()
	print(h.hexdigest(), flush=True)' >"$d/up"
	# While the machine is there still:
	packets=$(($(cat /sys/class/net/bed0/statistics/rx_packets) + $(cat /sys/class/net/bed0/statistics/tx_packets)))
	echo "$packets $(waits "$(thread net)") $(pgrep -c "^vhost-$pid\$")" >"$d/counts"
	kill $http
}

# one CASE
one()
{
	local vmm cpus args net=tap,ifname=bed0,vhost=on chips=kernel up down status want_vhost=1 job server

	IFS=: read -r vmm cpus args <<<"$1"
	[ "$vmm" != split ] || chips=split
	[ "$vmm" != thread ] || net=tap,ifname=bed0,vhost=off want_vhost=0
	rm -f "$d/up" "$d/counts" "$d/console" "$d/keys"
	: >"$d/console"
	mkfifo "$d/keys"
	timeout -s KILL 500 "$tenon" run --accel module --irqchip $chips --net $net -c "$cpus" -m 256M -k "$guests/cloud/vmlinuz" \
		-i "$d/initrd" -a "console=ttyS0 quiet panic=-1 cryptomgr.notests initcall_blacklist=load_system_certificate_list $args" \
		<"$d/keys" >"$d/console" 2>&1 &
	job=$!
	exec 9>"$d/keys"
	until pid=$(pgrep -P $job tenon); do sleep 0.1; done
	served &
	server=$!
	until grep -q 'guest#' "$d/console" || ! kill -0 $job 2>/dev/null; do sleep 0.5; done
	echo 'sh /test.sh' >&9
	wait $job
	status=$?
	exec 9>&-
	kill $server 2>/dev/null
	wait $server 2>/dev/null
	read -r packets waits vhost 2>/dev/null <"$d/counts"
	up=$(seq 1 200000 | md5sum | cut -c 1-32)
	down=$(md5sum <"$d/www/file" | cut -c 1-32)
	echo "# $1: ${packets:-no} packets, the launcher's thread waited ${waits:-?} times, ${vhost:-?} threads of vhost-net"
	echo "# status $status, down $down, up $up; arrived: $(paste -s "$d/up")"
	[ $status = 0 ] && grep -q 'T>end=yes' "$d/console" && [ "$(grep -c "T>down[12]=$down" "$d/console")" = 2 ] &&
		[ "$(grep -c "^$up\$" "$d/up")" = 2 ] &&
		[ "$vhost" = $want_vhost ] && [ ! -e /sys/class/net/bed0 ] || return
	# Where the kernel sends the interrupts, too, the launcher's thread has no part in the transfers.
	case $vmm:$args in
	vhost:) [ "$waits" -lt 100 ] ;;
	*) [ "$waits" -gt 100 ] ;;
	esac
}

(cat "$guests/initrd-cloud-amd64"; cd "$d" && echo test.sh | cpio -o -H newc -R 0:0 --quiet) >"$d/initrd"
echo "TAP version 13"
echo "1..$#"
insmod "$ko" && modprobe -d "$TENON_BED_MODULES" tun && modprobe -d "$TENON_BED_MODULES" vhost_net || { echo "Bail out! modules"; exit 1; }
n=0 bad=0
for case in "$@"; do
	n=$((n + 1))
	if one "$case"; then
		echo "ok $n - $case"
	else
		echo "not ok $n - $case"
		tail -n 20 "$d/console" | tr -d '\r' | sed 's/^/#   /'
		bad=1
	fi
done
rmmod tenon || bad=1
exit $bad
