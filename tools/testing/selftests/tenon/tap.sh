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
#	reboot:CPUS[:ARGS]	vhost-net, and the guest reboots between the transfers
#	plug:CPUS[:ARGS]	vhost-net for a card that is added while the guest runs, removed, and added again; then a reboot
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

# What the guest runs: transfers before and after its driver sets the device up anew, or one at a time.
cat >"$d/test.sh" <<'GUEST'
card()
{
	until [ -e /sys/class/net/eth0 ]; do usleep 100000; done
	ip addr add 10.9.0.2/24 dev eth0
	ip link set eth0 up
	n=0
	until ping -c 1 -W 2 10.9.0.1 >/dev/null 2>&1 || [ $n -gt 60 ]; do n=$((n + 1)); sleep 1; done
}
transfer()
{
	card
	wget -q -O - http://10.9.0.1:8080/file | md5sum | cut -c1-32 | sed "s/^/T>down$1=/"
	seq 1 200000 | nc 10.9.0.1 9001
	echo "T>end$1=yes"
}
if [ $# -gt 0 ]; then
	transfer $1
else
	transfer 1
	echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind
	echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind
	transfer 2
fi
GUEST

# The host's end of the interface, as often as there is one.
addressed()
{
	while :; do
		ip addr add 10.9.0.1/24 dev bed0 2>/dev/null
		sleep 0.2
	done
}

# sink COUNT: what arrived in so many connections
sink()
{
	exec python3 -c 'import hashlib, socket, sys
s = socket.create_server(("", 9001))
for i in range(int(sys.argv[1])):
	c = s.accept()[0]
	h = hashlib.md5()
	while d := c.recv(65536): h.update(d)
	c.close()
	print(h.hexdigest(), flush=True)' "$1" >"$d/up"
}

# The kernel's threads for the machine.
vhosts()
{
	pgrep -c "^vhost-$pid\$"
}

# said COUNT TEXT: waits until the guest has, so often; false if it ends before that
said()
{
	until [ "$(grep -c "$2" "$d/console")" -ge "$1" ]; do
		kill -0 "$job" 2>/dev/null || return
		sleep 0.3
	done
}

# transfer N: one by the guest
transfer()
{
	echo "sh /test.sh $1" >&9
	said 1 "T>end$1=yes"
}

# reboot N: the guest, which comes up for the Nth time
reboot()
{
	echo 'reboot -f' >&9
	said "$1" 'to leave'
}

added()
{
	"$tenon" device add bed card --net tap,ifname=bed0,vhost=on
}

# A card that comes, goes, and comes again.
plugged()
{
	added && transfer 1 && [ "$(vhosts)" = 1 ] || return
	"$tenon" device remove bed card && [ ! -e /sys/class/net/bed0 ] && [ "$(vhosts)" = 0 ] || return
	added && transfer 2 && reboot 2 && transfer 3
}

# one CASE
one()
{
	local vmm cpus args net=tap,ifname=bed0,vhost=on chips=kernel down up status want_vhost=1 runs=2 packets waits vhost job
	local bad=0 helpers=()

	IFS=: read -r vmm cpus args <<<"$1"
	case $vmm in
	split) chips="split" ;;
	thread) net=tap,ifname=bed0,vhost=off want_vhost=0 ;;
	plug) net=none runs=3 ;;
	esac
	rm -f "$d/up" "$d/keys"
	: >"$d/console"
	mkfifo "$d/keys"
	timeout -s KILL 500 "$tenon" run --name bed --accel module --irqchip $chips --net $net -c "$cpus" -m 256M \
		-k "$guests/cloud/vmlinuz" -i "$d/initrd" \
		-a "console=ttyS0 quiet panic=-1 cryptomgr.notests initcall_blacklist=load_system_certificate_list $args" \
		<"$d/keys" >"$d/console" 2>&1 &
	job=$!
	exec 9>"$d/keys"
	until pid=$(pgrep -P $job tenon); do sleep 0.1; done
	addressed &
	helpers+=($!)
	"$bb" httpd -f -p 8080 -h "$d/www" &
	helpers+=($!)
	sink $runs &
	helpers+=($!)
	said 1 'guest#'
	case $vmm in
	plug) plugged || bad=1 ;;
	reboot) transfer 1 && reboot 2 && transfer 2 || bad=1 ;;
	*) echo 'sh /test.sh' >&9; said 1 'T>end2=yes' || bad=1 ;;
	esac
	packets=$(($(cat /sys/class/net/bed0/statistics/rx_packets) + $(cat /sys/class/net/bed0/statistics/tx_packets)))
	waits=$(waits "$(thread net)") vhost=$(vhosts)
	echo 'poweroff -f' >&9
	wait $job
	status=$?
	exec 9>&-
	kill "${helpers[@]}" 2>/dev/null
	wait "${helpers[@]}" 2>/dev/null
	up=$(seq 1 200000 | md5sum | cut -c 1-32)
	down=$(md5sum <"$d/www/file" | cut -c 1-32)
	echo "# $1: $packets packets, the launcher's thread waited ${waits:-?} times, ${vhost:-?} threads of vhost-net"
	echo "# status $status, down $down, up $up; arrived: $(paste -s "$d/up")"
	[ $status = 0 ] && [ $bad = 0 ] && [ "$(grep -c "T>down[1-3]=$down" "$d/console")" = $runs ] &&
		[ "$(grep -c "^$up\$" "$d/up")" = $runs ] &&
		[ "$vhost" = $want_vhost ] && [ ! -e /sys/class/net/bed0 ] || return
	# Where the kernel sends the interrupts, too, the launcher's thread has no part in the transfers.
	case $vmm:$args in
	vhost: | reboot: | plug:) [ "$waits" -lt 100 ] ;;
	*) [ "$waits" -gt 100 ] ;;
	esac
}

export XDG_RUNTIME_DIR=$d
mkdir "$d/www"
head -c 6000000 /dev/urandom >"$d/www/file"
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
