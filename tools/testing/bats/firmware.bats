#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# tenon run DISK: stock SeaBIOS starts what is on the disk. Oracles: a boot sector that uses the BIOS's services, GRUB and
# Linux, what Linux finds of the firmware's tables, and Linux's reading of the cloud-init disk.

load guest

PATH=$PATH:/usr/sbin:/sbin

# boot_sector FILE: 1 MiB with the boot sector
boot_sector()
{
	gcc -m32 -nostdlib -static -no-pie -Wl,--build-id=none,--no-warn-rwx-segments,-N,-Ttext=0x7c00,--oformat=binary \
		-o "$1" "$BATS_TEST_DIRNAME/kernels/boot-sector.S" >&2
	truncate -s 1M "$1"
}

# printed FILE: the console without the BIOS's terminal control, which repeats nothing
printed()
{
	sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' "$1" | tr -d '\r'
}

# grub_disk FILE: an MBR disk with GRUB, and on its partition an ext2 with a kernel, as grub-install would lay it out
grub_disk()
{
	local d=$BATS_FILE_TMPDIR/boot

	mkdir -p "$d/boot/grub"
	cp "$guests/cloud/vmlinuz" "$guests/initrd-cloud-amd64" "$d/boot"
	printf '%s\n' 'set timeout=0' 'echo GRUB loads Linux' 'linux /boot/vmlinuz console=ttyS0 quiet' \
		'initrd /boot/initrd-cloud-amd64' boot >"$d/boot/grub/grub.cfg"
	truncate -s 40M "$1.part"
	mke2fs -q -t ext2 -F -d "$d" "$1.part"
	grub-mkimage -O i386-pc -o "$d/core.img" -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2 normal linux echo configfile
	truncate -s 42M "$1"
	dd if=/usr/lib/grub/i386-pc/boot.img of="$1" bs=440 count=1 conv=notrunc status=none
	# one partition: active, type 83, from sector 2048, 81920 sectors
	printf '\200\0\0\0\203\0\0\0\0\10\0\0\0\100\1\0' | dd of="$1" bs=1 seek=446 conv=notrunc status=none
	printf '\125\252' | dd of="$1" bs=1 seek=510 conv=notrunc status=none
	dd if="$d/core.img" of="$1" bs=512 seek=1 conv=notrunc status=none
	dd if="$1.part" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
	rm "$1.part"
}

# What the guest is asked once it is there; nothing is typed while the BIOS and GRUB could take it.
patient()
{
	local n

	for ((n = 0; n < 1800 * ${TENON_SLOW:-1}; n++)); do
		! grep -q 'to leave' "$console.times" || break
		sleep 0.1
	done
	printf '%s\n' "$1"
}

# Resets the first time, powers off the second.
twice()
{
	local n i

	for i in 1 2; do
		for ((n = 0; n < 1800 * ${TENON_SLOW:-1}; n++)); do
			[ "$(grep -c 'to leave' "$console.times")" -lt $i ] || break
			sleep 0.1
		done
		if [ $i = 1 ]; then echo 'reboot -f'; else echo 'poweroff -f'; fi
	done
}

setup_file()
{
	load guest
	grub_disk "$BATS_FILE_TMPDIR/grub.img"
	qemu-img convert -O qcow2 "$BATS_FILE_TMPDIR/grub.img" "$BATS_FILE_TMPDIR/grub.qcow2"
	GUEST_FEED=patient boot grub 300 'echo "T>cpus=$(nproc)"; echo "T>mem=$(awk "/MemTotal/ { print int(\$2 / 1024) }" /proc/meminfo)"; echo "T>vendor=$(cat /sys/class/dmi/id/sys_vendor)"; echo "T>acpi=$(ls /sys/firmware/acpi/tables | tr "\n" " ")"; echo "T>bad=$(dmesg | grep -cE "ACPI (BIOS )?(Error|Warning)|Firmware Bug")"; echo "T>disks=$(ls -d /sys/block/vd* | wc -l)"; reboot -f' \
		--net none -c 2 -m 384M --no-reboot "$BATS_FILE_TMPDIR/grub.qcow2,snapshot"
}

@test "firmware: a boot sector prints and reads by the BIOS" {
	boot_sector "$BATS_TEST_TMPDIR/disk.img"
	console=$BATS_TEST_TMPDIR/sector
	echo "tenon run disk.img" >"$console.command"
	status=0
	limit 60 "$tenon" run --net none --debug-exit 0xf4 "$BATS_TEST_TMPDIR/disk.img" >"$console" 2>"$console.errors" </dev/null || status=$?
	expect "exit status" "$status" -eq 33
	printed "$console" | grep -q 'Hello from the boot sector' || fail "the BIOS printed nothing"
	printed "$console" | grep -q 'and from the disk behind' || fail "the BIOS read nothing"
}

@test "firmware: the disk named first is the one that starts" {
	boot_sector "$BATS_TEST_TMPDIR/boot.img"
	truncate -s 1M "$BATS_TEST_TMPDIR/other.img"
	run limit 60 "$tenon" run --net none --debug-exit 0xf4 --disk "$BATS_TEST_TMPDIR/other.img" "$BATS_TEST_TMPDIR/boot.img" </dev/null
	expect "exit status" "$status" -eq 33
}

@test "firmware: one named with --firmware runs from the end of the first 4 GiB" {
	printf '\272\364\0\260\20\356\364\353\375' >"$BATS_TEST_TMPDIR/code"	# mov $0xf4, %dx; mov $0x10, %al; out; hlt
	truncate -s 64K "$BATS_TEST_TMPDIR/rom"
	dd if="$BATS_TEST_TMPDIR/code" of="$BATS_TEST_TMPDIR/rom" bs=1 conv=notrunc status=none
	printf '\352\0\0\0\360' | dd of="$BATS_TEST_TMPDIR/rom" bs=1 seek=65520 conv=notrunc status=none	# ljmp $0xf000, $0
	run limit 30 "$tenon" run --net none --debug-exit 0xf4 --firmware "$BATS_TEST_TMPDIR/rom" </dev/null
	expect "exit status" "$status" -eq 33
}

@test "firmware: GRUB starts Linux from a qcow2 disk, with the memory, processors and tables of the machine" {
	recall grub
	expect "exit status" "$status" -eq 3
	printed "$console" | grep -q 'GRUB loads Linux' || fail "no word from GRUB"
	expect processors "$(answer cpus)" -eq 2
	expect memory "$(answer mem)" -gt 300
	[ "$(answer vendor)" = Tenon ] || fail "vendor: $(answer vendor)"
	[[ " $(answer acpi)" == *" APIC DSDT FACP "* ]] || fail "tables: $(answer acpi)"
	expect "complaints about the tables" "$(answer bad)" -eq 0
	expect disks "$(answer disks)" -eq 1
}

@test "firmware: a reset goes through it again" {
	# Linux of the GRUB disk resets the machine, and is back by way of BIOS and GRUB.
	GUEST_FEED=twice boot twice 300 '' --net none -m 256M "$BATS_FILE_TMPDIR/grub.qcow2,snapshot"
	expect "exit status" "$status" -eq 0
	expect "starts of GRUB" "$(printed "$console" | grep -c 'GRUB loads Linux')" -eq 2
}

@test "firmware: cloud-init finds its disk and who may log in" {
	local m=$guests/generic/modules k

	k=$(echo "$m"/lib/modules/*/kernel)
	echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE me@host' >"$BATS_TEST_TMPDIR/key.pub"
	run limit 240 "$tenon" run --net none --rootfs "$guests/rootfs" -k "$guests/generic/vmlinuz" --modules "$m" --share "$k,tag=m,ro" \
		--cloud-init "user=me,ssh-key=$BATS_TEST_TMPDIR/key.pub,host=box" -- /bin/sh -c '
		mount -t 9p -o trans=virtio,version=9p2000.L m /mnt && for m in drivers/block/virtio_blk drivers/cdrom/cdrom fs/isofs/isofs; do
			/usr/lib/busybox insmod /mnt/$m.ko || exit 9; done
		mkdir -p /tmp/seed; mount -t iso9660 -o ro /dev/vda /tmp/seed && dd if=/dev/vda bs=1 skip=32808 count=6 2>/dev/null; echo; cat /tmp/seed/meta-data /tmp/seed/user-data' </dev/null
	expect "exit status" "$status" -eq 0
	[ "${lines[0]}" = cidata ] || fail "label: $output"
	[[ "$output" == *'local-hostname: box'* ]] || fail "meta-data: $output"
	[[ "$output" == *'name: me'*'"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE me@host"'* ]] || fail "user-data: $output"
}

@test "firmware: a private key is refused, and the message says which to give" {
	echo '-----BEGIN OPENSSH PRIVATE KEY-----' >"$BATS_TEST_TMPDIR/key"
	truncate -s 1M "$BATS_TEST_TMPDIR/disk.img"
	run "$tenon" run --cloud-init "user=me,ssh-key=$BATS_TEST_TMPDIR/key" "$BATS_TEST_TMPDIR/disk.img" </dev/null
	expect "exit status" "$status" -eq 1
	[[ "$output" == *"private key"*"key.pub"* ]] || fail "message: $output"
}
