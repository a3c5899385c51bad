#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# The launcher killed in the middle of the guest's writes. Oracles: the guest's own word for what was flushed,
# qemu-img check, e2fsck, debugfs.

load guest

PATH=$PATH:/usr/sbin:/sbin

# Files of different sizes, each flushed before it is told of; old ones go, so that blocks are used again.
writer='
mkdir -p /mnt
mount -t ext4 -o discard /dev/vda /mnt
echo "T>mounted"
i=0
while :; do
	i=$((i + 1))
	seq $i $((i * 37 % 9000 + i + 1)) >/mnt/f$i
	sync -d /mnt/f$i 2>/dev/null || sync
	sync
	echo "T>flushed=$i"
	[ $i -le 40 ] || rm -f /mnt/f$((i - 40))
done
'

# killed NAME IMAGE OPTIONS FLUSHES: run the writer, and kill the launcher a moment after that many flushes
killed()
{
	local dir=$BATS_TEST_TMPDIR n=0 pid

	with_script "$guests/initrd-cloud-amd64" "$writer" "$dir/initrd"
	rm -f "$dir/in"
	mkfifo "$dir/in"
	exec 9<>"$dir/in"
	echo 'sh /test.sh' >&9
	"$tenon" run -k "$guests/cloud/vmlinuz" -i "$dir/initrd" -m 256M -a "console=ttyS0 quiet" --net none \
		--disk "$2$3" <"$dir/in" >"$dir/console" 2>&1 9>&- 3>&- &
	pid=$!
	while ! grep -q "^T>flushed=$4" "$dir/console"; do
		n=$((n + 1))
		if [ $n -gt $((1200 * ${TENON_SLOW:-1})) ] || ! kill -0 $pid 2>/dev/null; then
			kill -9 $pid 2>/dev/null || true
			exec 9>&-
			fail "$1: the guest did not write: $(tail -n 5 "$dir/console")"
		fi
		sleep 0.2
	done
	sleep "0.$((RANDOM % 900 + 100))"
	kill -9 $pid
	wait $pid || true
	exec 9>&-
	last=$(tr -d '\r' <"$dir/console" | sed -n 's/^T>flushed=\([0-9][0-9]*\)$/\1/p' | tail -n 1)
}

# survived NAME RAW LAST: the journal can be replayed, nothing is wrong then, and what was flushed is there
survived()
{
	local i

	run e2fsck -p "$2"
	[ "$status" -le 1 ] || fail "$1: the journal: $output"
	run e2fsck -fn "$2"
	[ "$status" -eq 0 ] || fail "$1: e2fsck: $output"
	for ((i = $3 > 30 ? $3 - 30 : 1; i <= $3; i++)); do
		debugfs -R "cat /f$i" "$2" 2>/dev/null >"$BATS_TEST_TMPDIR/got"
		seq $i $((i * 37 % 9000 + i + 1)) | cmp - "$BATS_TEST_TMPDIR/got" || fail "$1: file $i of $3 is not what was flushed"
	done
}

fresh_fs()
{
	rm -f "$1"
	truncate -s 128M "$1"
	mke2fs -q -t ext4 "$1"
}

@test "crash: qcow2: killed in the middle of writes, three times over, the file system is clean and what was flushed is there" {
	local disk=$BATS_TEST_TMPDIR/disk.qcow2 raw=$BATS_TEST_TMPDIR/raw round

	for round in 12 60 25; do
		fresh_fs "$raw"
		"$tenon" img convert "$raw" "$disk"
		killed "qcow2 $round" "$disk" "" $round
		[ "$last" -ge $round ] || fail "flushed only $last"
		run qemu-img check -f qcow2 "$disk"
		# 3: clusters that nothing uses, which a crash may leave
		[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || fail "qemu-img check: $output"
		qemu-img convert -f qcow2 -O raw "$disk" "$raw"
		survived "qcow2 $round" "$raw" "$last"
		rm -f "$disk"
	done
}

@test "crash: raw, O_DIRECT: likewise" {
	local raw=$BATS_TEST_TMPDIR/disk.raw

	fresh_fs "$raw"
	killed raw "$raw" ",cache=none" 20
	survived raw "$raw" "$last"
}
