#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Machines on the module, in the test bed: what other files here show on the software CPU, and the kernel's vhost-net.

load module

# taps CASE...: see tap.sh
taps()
{
	in_bed --smp 2 -- "$tests/tap.sh" "$(ko generic)" "$out/tenon" "$guests" "$@"
	[ "$(grep -c '^ok' <<<"$output")" = $# ]
}

# machines COUNT ARGUMENT...: so many tests of tools/testing/bats, see machine.sh
machines()
{
	local count=$1

	shift
	TENON_SLOW=4 in_bed --smp 2 --mem 3G -- env TENON_CACHE="$guests" "$tests/machine.sh" "$(ko generic)" "$out/tenon" "$@"
	[ "$(grep -c '^ok' <<<"$output")" = "$count" ]
	! grep '^ok.*# skip' <<<"$output"
}

# bats test_tags=quick
@test "module: a card on a tap interface by the kernel's vhost-net" {
	taps vhost:1
}

@test "module: a card on a tap interface: 2 CPUs, INTx, the IOAPIC in the launcher, without vhost-net" {
	taps vhost:2:pci=nomsi split:1 thread:2
}

@test "module: vhost-net over a reboot of the guest" {
	taps reboot:1
}

@test "module: a card on a tap interface is added with vhost-net, removed, and added again; a reboot of the guest" {
	taps plug:1
}

@test "module: killed in the middle of writes, the file system is clean and what was flushed is there" {
	machines 2 tools/testing/bats/crash.bats
}

@test "module: verified reads and writes over every format, by several processes at once" {
	machines 1 --filter verified tools/testing/bats/disk.bats
}

@test "module: Debian with systemd on qcow2 boots to its login; apt-get by the user network; the disk is clean" {
	[ -s "$guests/systemd.qcow2" ] || skip "no disk: see scripts/guest-systemd"
	machines "$(grep -c '^@test' tools/testing/bats/systemd.bats)" tools/testing/bats/systemd.bats
}
