#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# A Debian root file system on virtio-blk. Oracles: e2fsck, debugfs and the host's view of the image.

load guest

PATH=$PATH:/usr/sbin:/sbin

setup_file()
{
	load guest
	# What is written is told from what was read: a file of a known checksum, flushed by power-off.
	cp --sparse=always "$guests/debian.img" "$BATS_FILE_TMPDIR/disk.img"
	boot disk 300 'seq 1 200000 >/root/n; echo "T>sum=$(md5sum </root/n | cut -c1-32)"; cat /etc/debian_version | sed "s/^/T>version=/"; touch /root/done; poweroff' \
		--kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" \
		--append "console=ttyS0 quiet root=/dev/vda rw" --memory 512M --disk "$BATS_FILE_TMPDIR/disk.img"
}

@test "disk: Debian boots from an ext4 image to its shell and powers off" {
	recall disk
	expect "exit status" "$status" -eq 0
	grep -q '^Tenon guest: Debian .* on /dev/vda ext4' "$console" || fail "no shell"
	[ -n "$(answer version)" ] || fail "no command ran"
}

@test "disk: what the guest wrote reads back in the guest" {
	recall disk
	[ "$(answer sum)" = "$(seq 1 200000 | md5sum | cut -c 1-32)" ] || fail "checksum is $(answer sum)"
}

@test "disk: what the guest wrote is in the image" {
	recall disk
	run debugfs -R 'cat /root/n' "$BATS_FILE_TMPDIR/disk.img"
	[ "$(debugfs -R 'cat /root/n' "$BATS_FILE_TMPDIR/disk.img" 2>/dev/null | md5sum)" = "$(seq 1 200000 | md5sum)" ] ||
		fail "the file differs in the image"
}

@test "disk: the file system is clean after power-off" {
	recall disk
	run e2fsck -fn "$BATS_FILE_TMPDIR/disk.img"
	[ "$status" -eq 0 ] || fail "e2fsck: $output"
}

@test "disk: read-only: the guest sees it, cannot write, and the image does not change" {
	local head sum

	cp --sparse=always "$guests/debian.img" "$BATS_TEST_TMPDIR/ro.img"
	chmod 444 "$BATS_TEST_TMPDIR/ro.img"
	# Of the copy: debian.img may be made anew by somebody else meanwhile.
	head=$(head -c 8388608 "$BATS_TEST_TMPDIR/ro.img" | md5sum | cut -c 1-32)
	sum=$(md5sum <"$BATS_TEST_TMPDIR/ro.img")
	boot ro 240 'echo "T>ro=$(cat /sys/block/vda/ro)"; echo "T>sectors=$(cat /sys/block/vda/size)"; dd if=/dev/zero of=/dev/vda bs=4096 count=1 conv=fsync 2>&1 | sed "s/^/T>dd=/"; dd if=/dev/vda bs=1M count=8 2>/dev/null | md5sum | cut -c1-32 | sed "s/^/T>md5=/"; poweroff -f' \
		--kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" --append "console=ttyS0 quiet" \
		--memory 256M --disk "$BATS_TEST_TMPDIR/ro.img,ro"
	expect "exit status" "$status" -eq 0
	expect "read-only flag" "$(answer ro)" -eq 1
	expect "sectors" "$(answer sectors)" -eq $(($(stat -c %s "$BATS_TEST_TMPDIR/ro.img") / 512))
	[ "$(answer md5)" = "$head" ] || fail "read something else: $(answer md5), not $head"
	[ "$(md5sum <"$BATS_TEST_TMPDIR/ro.img")" = "$sum" ] || fail "the image changed"
}

# serve PORT|SOCKET FILE OPTION...: qemu-nbd with the export "disk", until nbd_stop
serve()
{
	local at=$1 file=$2

	shift 2
	case $at in
	/*) set -- -k "$at" "$@" ;;
	*) set -- -b 127.0.0.1 -p "$at" "$@" ;;
	esac
	qemu-nbd --fork -t --pid-file="$BATS_TEST_TMPDIR/nbd.pid" -x disk "$@" "$file" 3>&-
}

nbd_stop()
{
	kill "$(cat "$BATS_TEST_TMPDIR/nbd.pid")"
}

@test "disk: over NBD, by a socket and by TCP, of a server that reads a qcow2 image" {
	local at url sum

	truncate -s 64M "$BATS_TEST_TMPDIR/plain.raw"
	run "$tenon" img create -f qcow2 "$BATS_TEST_TMPDIR/image.qcow2" 64M
	expect "exit status of img create" "$status" -eq 0
	for at in "$BATS_TEST_TMPDIR/sock" $((20000 + $$ % 20000)); do
		case $at in
		/*) url="nbd+unix:///disk?socket=$at" serve=plain.raw format=raw ;;
		*) url=nbd://127.0.0.1:$at/disk serve=image.qcow2 format=qcow2 ;;
		esac
		serve "$at" "$BATS_TEST_TMPDIR/$serve" -f $format
		boot nbd 120 'dd if=/dev/urandom of=/dev/vda bs=64k count=320 2>/dev/null; sync
dd if=/dev/vda bs=64k count=320 2>/dev/null | md5sum | sed "s/^/T>sum=/"; poweroff -f' -k "$guests/cloud/vmlinuz" \
			-i "$guests/initrd-cloud-amd64" -a 'console=ttyS0 quiet' -m 256M --net none --disk "$url"
		nbd_stop
		expect "exit status" "$status" -eq 0
		run qemu-img convert -f $format -O raw "$BATS_TEST_TMPDIR/$serve" "$BATS_TEST_TMPDIR/out.raw"
		sum=$(head -c 20971520 "$BATS_TEST_TMPDIR/out.raw" | md5sum)
		[ "$(answer sum)" = "$sum" ] || fail "the guest read $(answer sum), the server's image has $sum"
	done
	run "$tenon" run --disk "$url" -k "$(tiny echo)" </dev/null
	expect "exit status without a server" "$status" -eq 1
	[[ "$output" == *"connect to disk"* ]] || fail "message: $output"
}

# verified MIB OPS: disks of every format, written and read at random by one guest; then the host's view of each. OPS are
# operations of a process, of which there are four a disk.
verified()
{
	local d=$BATS_TEST_TMPDIR mib=$1 ops=$2 seed=$RANDOM n=0 line fmt file base=() args=() ask=
	local v=$d/verify

	gcc -O2 -static -o "$v" "$BATS_TEST_DIRNAME/verify.c"
	"$v" fill "$d/base.raw" "$mib"
	qemu-img convert -c -O qcow2 "$d/base.raw" "$d/base.qcow2"
	cp "$d/base.raw" "$d/raw"
	cp "$d/base.raw" "$d/direct"
	cp "$d/base.raw" "$d/served"
	base=(qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2)
	"${base[@]}" -o lazy_refcounts=on "$d/backed.qcow2"
	qemu-img convert -O qcow2 -o compat=0.10,cluster_size=4k "$d/base.raw" "$d/v2.qcow2"
	qemu-img snapshot -c before "$d/v2.qcow2"
	"${base[@]}" -o extended_l2=on "$d/extended.qcow2"
	qemu-img convert -c -O qcow2 -o compression_type=zstd,refcount_bits=64 "$d/base.raw" "$d/zstd.qcow2"
	serve "$d/sock" "$d/served" -f raw --discard=unmap
	for line in raw,aio=io_uring direct,cache=none,aio=threads backed.qcow2,aio=io_uring v2.qcow2,cache=writethrough \
		extended.qcow2,cache=none zstd.qcow2 base.raw,snapshot; do
		args+=(--disk "$d/$line")
	done
	args+=(--disk "nbd+unix:///disk?socket=$d/sock")
	for n in a b c d e f g h; do
		ask+="/verify run /dev/vd$n $mib $seed $ops && echo 'T>vd$n=ok' & "
	done
	mkdir -p "$d/add"
	cp "$v" "$d/add/verify"
	{
		cat "$guests/initrd-cloud-amd64"
		(cd "$d/add" && echo verify | cpio -o -H newc -R 0:0 --quiet)
	} >"$d/initrd"
	boot verified 600 "$ask wait; poweroff -f" -k "$guests/cloud/vmlinuz" -i "$d/initrd" -a 'console=ttyS0 quiet' -m 512M \
		-c 2 --net none "${args[@]}"
	nbd_stop
	expect "exit status" "$status" -eq 0
	for n in a b c d e f g h; do
		[ "$(answer vd$n)" = ok ] || fail "vd$n: what was read is not what was written (seed $seed)"
	done
	for file in raw direct served backed.qcow2 v2.qcow2 extended.qcow2 zstd.qcow2; do
		fmt=raw
		case $file in
		*.qcow2)
			fmt=qcow2
			run qemu-img check -q "$d/$file"
			[ "$status" -eq 0 ] || fail "qemu-img check $file: $output (seed $seed)" ;;
		esac
		qemu-img convert -f $fmt -O raw "$d/$file" "$d/out"
		run "$v" check "$d/out" "$mib" "$seed" "$ops"
		[ "$status" -eq 0 ] || fail "$file: $output (seed $seed)"
	done
	# What nobody was to write: the disk below a snapshot, the backing file, the internal snapshot.
	run "$v" check "$d/base.raw" "$mib" 0 0
	[ "$status" -eq 0 ] || fail "the disk below the snapshot: $output"
	qemu-img compare -q "$d/base.raw" "$d/base.qcow2" || fail "the backing file has changed"
	qemu-img convert -f qcow2 -l before -O raw "$d/v2.qcow2" "$d/out"
	cmp "$d/out" "$d/base.raw" || fail "the internal snapshot has changed"
}

@test "disk: verified reads and writes over every format, by several processes at once" {
	verified 8 "${TEST_OPS:-250}"
}
