#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Every kernel with every setting (make check-full), and what takes long. try: KERNEL ARCH CPUS MIB CPUS-SEEN APPEND

load guest
load cpu

# cloud
@test "full: cloud, amd64, 1 CPU(s), 256 MiB" { try cloud amd64 1 256 1 ""; }
@test "full: cloud, amd64, 1 CPU(s), 1024 MiB" { try cloud amd64 1 1024 1 ""; }
@test "full: cloud, amd64, 1 CPU(s), 4096 MiB" { try cloud amd64 1 4096 1 ""; }
@test "full: cloud, amd64, 1 CPU(s), 6144 MiB" { try cloud amd64 1 6144 1 ""; }
@test "full: cloud, amd64, 4 CPU(s), 256 MiB" { try cloud amd64 4 256 4 ""; }
@test "full: cloud, amd64, 4 CPU(s), 1024 MiB" { try cloud amd64 4 1024 4 ""; }
@test "full: cloud, amd64, 4 CPU(s), 4096 MiB" { try cloud amd64 4 4096 4 ""; }
@test "full: cloud, amd64, 4 CPU(s), 6144 MiB" { try cloud amd64 4 6144 4 ""; }
@test "full: cloud, amd64, 1 CPU(s), 512 MiB, nopti" { try cloud amd64 1 512 1 "nopti"; }
@test "full: cloud, amd64, 4 CPU(s), 512 MiB, nopti" { try cloud amd64 4 512 4 "nopti"; }
@test "full: cloud, amd64, 1 CPU(s), 512 MiB, nokaslr" { try cloud amd64 1 512 1 "nokaslr"; }
@test "full: cloud, amd64, 4 CPU(s), 512 MiB, nokaslr" { try cloud amd64 4 512 4 "nokaslr"; }
@test "full: cloud, amd64, 1 CPU(s), 512 MiB, noapic" { try cloud amd64 1 512 1 "noapic"; }
@test "full: cloud, amd64, 4 CPU(s), 512 MiB, noapic" { try cloud amd64 4 512 4 "noapic"; }
@test "full: cloud, amd64, 1 CPU(s), 512 MiB, nosmp" { try cloud amd64 1 512 1 "nosmp"; }
@test "full: cloud, amd64, 4 CPU(s), 512 MiB, nosmp" { try cloud amd64 4 512 1 "nosmp"; }
@test "full: cloud, amd64, 1 CPU(s), 512 MiB, nolapic" { try cloud amd64 1 512 1 "nolapic pci=nomsi"; }
@test "full: cloud, amd64, 4 CPU(s), 512 MiB, nolapic" { try cloud amd64 4 512 1 "nolapic pci=nomsi"; }
@test "full: cloud, i386, 1 CPU(s), 512 MiB" { try cloud i386 1 512 1 ""; }
@test "full: cloud, i386, 4 CPU(s), 512 MiB" { try cloud i386 4 512 4 ""; }
@test "full: cloud, amd64, 1 CPU(s), 512 MiB, acpi=off" {
	GUEST_END="reboot -f" GUEST_STATUS=3 try cloud amd64 1 512 1 "acpi=off pci=nomsi" --no-reboot
}

# generic
@test "full: generic, amd64, 1 CPU(s), 256 MiB" { try generic amd64 1 256 1 ""; }
@test "full: generic, amd64, 1 CPU(s), 1024 MiB" { try generic amd64 1 1024 1 ""; }
@test "full: generic, amd64, 1 CPU(s), 4096 MiB" { try generic amd64 1 4096 1 ""; }
@test "full: generic, amd64, 1 CPU(s), 6144 MiB" { try generic amd64 1 6144 1 ""; }
@test "full: generic, amd64, 4 CPU(s), 256 MiB" { try generic amd64 4 256 4 ""; }
@test "full: generic, amd64, 4 CPU(s), 1024 MiB" { try generic amd64 4 1024 4 ""; }
@test "full: generic, amd64, 4 CPU(s), 4096 MiB" { try generic amd64 4 4096 4 ""; }
@test "full: generic, amd64, 4 CPU(s), 6144 MiB" { try generic amd64 4 6144 4 ""; }
@test "full: generic, amd64, 1 CPU(s), 512 MiB, nopti" { try generic amd64 1 512 1 "nopti"; }
@test "full: generic, amd64, 4 CPU(s), 512 MiB, nopti" { try generic amd64 4 512 4 "nopti"; }
@test "full: generic, amd64, 1 CPU(s), 512 MiB, nokaslr" { try generic amd64 1 512 1 "nokaslr"; }
@test "full: generic, amd64, 4 CPU(s), 512 MiB, nokaslr" { try generic amd64 4 512 4 "nokaslr"; }
@test "full: generic, amd64, 1 CPU(s), 512 MiB, noapic" { try generic amd64 1 512 1 "noapic"; }
@test "full: generic, amd64, 4 CPU(s), 512 MiB, noapic" { try generic amd64 4 512 4 "noapic"; }
@test "full: generic, amd64, 1 CPU(s), 512 MiB, nosmp" { try generic amd64 1 512 1 "nosmp"; }
@test "full: generic, amd64, 4 CPU(s), 512 MiB, nosmp" { try generic amd64 4 512 1 "nosmp"; }
@test "full: generic, amd64, 1 CPU(s), 512 MiB, nolapic" { try generic amd64 1 512 1 "nolapic pci=nomsi"; }
@test "full: generic, amd64, 4 CPU(s), 512 MiB, nolapic" { try generic amd64 4 512 1 "nolapic pci=nomsi"; }
@test "full: generic, i386, 1 CPU(s), 512 MiB" { try generic i386 1 512 1 ""; }
@test "full: generic, i386, 4 CPU(s), 512 MiB" { try generic i386 4 512 4 ""; }
@test "full: generic, amd64, 1 CPU(s), 512 MiB, acpi=off" {
	GUEST_END="reboot -f" GUEST_STATUS=3 try generic amd64 1 512 1 "acpi=off pci=nomsi" --no-reboot
}

# 6.12
@test "full: 6.12, amd64, 1 CPU(s), 256 MiB" { try 6.12 amd64 1 256 1 ""; }
@test "full: 6.12, amd64, 1 CPU(s), 1024 MiB" { try 6.12 amd64 1 1024 1 ""; }
@test "full: 6.12, amd64, 1 CPU(s), 4096 MiB" { try 6.12 amd64 1 4096 1 ""; }
@test "full: 6.12, amd64, 1 CPU(s), 6144 MiB" { try 6.12 amd64 1 6144 1 ""; }
@test "full: 6.12, amd64, 4 CPU(s), 256 MiB" { try 6.12 amd64 4 256 4 ""; }
@test "full: 6.12, amd64, 4 CPU(s), 1024 MiB" { try 6.12 amd64 4 1024 4 ""; }
@test "full: 6.12, amd64, 4 CPU(s), 4096 MiB" { try 6.12 amd64 4 4096 4 ""; }
@test "full: 6.12, amd64, 4 CPU(s), 6144 MiB" { try 6.12 amd64 4 6144 4 ""; }
@test "full: 6.12, amd64, 1 CPU(s), 512 MiB, nopti" { try 6.12 amd64 1 512 1 "nopti"; }
@test "full: 6.12, amd64, 4 CPU(s), 512 MiB, nopti" { try 6.12 amd64 4 512 4 "nopti"; }
@test "full: 6.12, amd64, 1 CPU(s), 512 MiB, nokaslr" { try 6.12 amd64 1 512 1 "nokaslr"; }
@test "full: 6.12, amd64, 4 CPU(s), 512 MiB, nokaslr" { try 6.12 amd64 4 512 4 "nokaslr"; }
@test "full: 6.12, amd64, 1 CPU(s), 512 MiB, noapic" { try 6.12 amd64 1 512 1 "noapic"; }
@test "full: 6.12, amd64, 4 CPU(s), 512 MiB, noapic" { try 6.12 amd64 4 512 4 "noapic"; }
@test "full: 6.12, amd64, 1 CPU(s), 512 MiB, nosmp" { try 6.12 amd64 1 512 1 "nosmp"; }
@test "full: 6.12, amd64, 4 CPU(s), 512 MiB, nosmp" { try 6.12 amd64 4 512 1 "nosmp"; }
@test "full: 6.12, amd64, 1 CPU(s), 512 MiB, nolapic" { try 6.12 amd64 1 512 1 "nolapic pci=nomsi"; }
@test "full: 6.12, amd64, 4 CPU(s), 512 MiB, nolapic" { try 6.12 amd64 4 512 1 "nolapic pci=nomsi"; }
@test "full: 6.12, i386, 1 CPU(s), 512 MiB" { try 6.12 i386 1 512 1 ""; }
@test "full: 6.12, i386, 4 CPU(s), 512 MiB" { try 6.12 i386 4 512 4 ""; }
@test "full: 6.12, amd64, 1 CPU(s), 512 MiB, acpi=off" {
	GUEST_END="reboot -f" GUEST_STATUS=3 try 6.12 amd64 1 512 1 "acpi=off pci=nomsi" --no-reboot
}

# Debian's 32-bit kernels, with PAE and without
@test "full: 686-pae, i386, 1 CPU(s), 512 MiB" { try 686-pae i386 1 512 1 ""; }
@test "full: 686-pae, i386, 4 CPU(s), 3072 MiB" { try 686-pae i386 4 3072 4 ""; }
@test "full: 686-pae, i386, 1 CPU(s), 512 MiB, nopti" { try 686-pae i386 1 512 1 "nopti"; }
@test "full: 686-pae, i386, 1 CPU(s), 512 MiB, nolapic" { try 686-pae i386 1 512 1 "nolapic pci=nomsi"; }
@test "full: 686, i386, 1 CPU(s), 512 MiB" { try 686 i386 1 512 1 ""; }
@test "full: 686, i386, interpreted" { try 686 i386 1 512 1 "" --jit off; }

@test "full: --cpu max, generic" { check_features generic max; }
@test "full: --cpu max, 6.12" { check_features 6.12 max; }

@test "full: --jit stress boots with 4 CPUs" {
	ask stress 3600 cloud amd64 "" --cpus 4 --memory 1G --jit stress
	recall stress
	expect "exit status" "$status" -eq 0
	expect "sum" "$(answer sum)" = "$(seq 1 20000 | md5sum | cut -c1-32)"
}

@test "full: translator and interpreter agree at every step of a boot" {
	ask lockstep 3600 cloud amd64 "" --cpus 1 --memory 256M --lockstep
	recall lockstep
	expect "exit status" "$status" -eq 0
	expect "sum" "$(answer sum)" = "$(seq 1 20000 | md5sum | cut -c1-32)"
}

@test "full: 4 CPUs torture one another for half an hour" {
	make -C "$top" -s O="$out" "$out/unit/core-smp"
	limit 3600 "$out/unit/core-smp" 1800 >"$BATS_FILE_TMPDIR/smp" || fail "$(grep '^not ok' "$BATS_FILE_TMPDIR/smp")"
}

@test "full: cloud-init makes the user of --cloud-init, who logs in by the key and uses sudo" {
	local d=$BATS_TEST_TMPDIR n port said=

	[ -s "$guests/cloud-init.qcow2" ] || skip "no disk: see scripts/guest-systemd"
	ssh-keygen -q -t ed25519 -N '' -f "$d/key"
	port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
	"$tenon" img create -f qcow2 -b "$guests/cloud-init.qcow2" --any-backing "$d/disk.qcow2"
	named_setup
	console=$d/console
	set -- -k "$guests/cloud/vmlinuz" -i "$guests/initrd-cloud-amd64" -a 'console=ttyS0 root=/dev/vda rw' -m 768M -c 2 \
		--net "user,hostfwd=tcp:127.0.0.1:$port-:22" --disk "$d/disk.qcow2,backing=any" \
		--cloud-init "user=me,ssh-key=$d/key.pub,host=box"
	echo "tenon run $*" >"$console.command"
	"$tenon" run "$@" >"$console" 2>"$console.errors" </dev/null 3>&- &
	pid=$!
	for ((n = 0; n < 150 * ${TENON_SLOW:-1}; n++)); do
		said=$(ssh -p "$port" -i "$d/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 \
			-o BatchMode=yes me@127.0.0.1 'cloud-init status --wait | tail -n 1; hostname; id -un; sudo id -u; sudo systemctl poweroff' \
			2>/dev/null) && break
		sleep 2
	done
	[ -n "$said" ] || kill "$pid"
	ended
	expect "exit status" "$status" -eq 0
	[ "$(echo $said)" = "status: done box me 0" ] || fail "it said: $said"
}
