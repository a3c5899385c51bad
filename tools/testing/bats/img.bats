#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# tenon img. The oracle: qemu-img and qemu-io, which examine what tenon made and make what tenon reads.

load guest

setup()
{
	cd "$BATS_TEST_TMPDIR"
	console=$BATS_TEST_TMPDIR/out
}

# img STATUS ARGUMENT...
img()
{
	local want=$1

	shift
	echo "$tenon img $*" >"$console.command"
	status=0
	limit 120 "$tenon" img "$@" >"$console" 2>"$console.errors" </dev/null || status=$?
	errors=$(cat "$console.errors")
	expect "exit status of img $*" "$status" -eq "$want"
}

says()
{
	grep -qiE -- "$1" <<<"$errors" || fail "the message does not say \"$1\": $errors"
}

# A disk with something on it.
content()
{
	qemu-io -f "$2" -c "write -P 17 0 64k" -c "write -P 34 1234432 300k" -c "write -P 51 5M 1M" "$1" >/dev/null
}

@test "img: --help and wrong use" {
	img 0 --help
	grep -q convert "$console"
	img 2
	img 2 frobnicate x
	says frobnicate
	img 2 create
	img 2 create --frobnicate x 1M
	img 2 create x 1Q
	img 2 create -o cluster_size=3K x.qcow2 1M
	says cluster_size
	img 2 create -o cluster_size=4K x.img 1M
	img 2 create -f vmdk x 1M
	says vmdk
	img 1 info nonexistent.qcow2
	says "no such file"
}

@test "img create: every option, as qemu-img sees it" {
	local o

	for o in cluster_size=512 cluster_size=2M compat=0.10 refcount_bits=1 refcount_bits=64 extended_l2=on \
		lazy_refcounts=on compression_type=zstd preallocation=metadata preallocation=falloc preallocation=full \
		extended_l2=on,cluster_size=16K,preallocation=metadata; do
		img 0 create --force -o "$o" a.qcow2 8M
		qemu-img check -q a.qcow2 || fail "$o: check"
		[ "$(qemu-img info --output=json a.qcow2 | grep -o '"virtual-size": [0-9]*')" = '"virtual-size": 8388608' ]
		img 0 check a.qcow2
		content a.qcow2 qcow2
		qemu-img check -q a.qcow2 || fail "$o: check after writes"
		img 0 check a.qcow2
	done
	qemu-img info a.qcow2 | grep -q "extended l2: true"
	img 1 create a.qcow2 8M
	says exists
	img 0 create r.img 3M
	[ "$(stat -c %s r.img)" = 3145728 ]
}

@test "img info: what qemu-img made" {
	qemu-img create -q -f qcow2 -o compat=1.1,extended_l2=on,compression_type=zstd a.qcow2 100M
	qemu-img snapshot -c before a.qcow2
	img 0 info a.qcow2
	grep -q "extended L2: *yes" "$console"
	grep -q before "$console"
	img 0 info --json a.qcow2
	grep -q '"format": "qcow2", "virtual-size": 104857600,' "$console"
	grep -q '"compression-type": "zstd".*"extended-l2": true.*"name": "before"' "$console"
}

@test "img convert: raw and qcow2, plain and compressed, both ways" {
	qemu-img create -q -f raw a.img 9M
	content a.img raw
	img 0 convert a.img a.qcow2
	qemu-img check -q a.qcow2
	qemu-img compare -q -f raw -F qcow2 a.img a.qcow2
	img 0 convert -c a.img c.qcow2
	qemu-img check -q c.qcow2
	qemu-img compare -q -f raw -F qcow2 a.img c.qcow2
	[ "$(stat -c %s c.qcow2)" -lt 600000 ] || fail "compressed to $(stat -c %s c.qcow2)"
	img 0 convert -c -o compression_type=zstd,cluster_size=2M a.qcow2 z.qcow2
	qemu-img check -q z.qcow2
	qemu-img compare -q -f raw -F qcow2 a.img z.qcow2
	img 0 convert z.qcow2 b.img
	cmp a.img b.img
	qemu-img convert -c -O qcow2 -o cluster_size=4k a.img q.qcow2
	img 0 convert --force q.qcow2 b.img
	cmp a.img b.img
	img 0 check q.qcow2
	img 1 convert a.img b.img
	says exists
}

@test "img: backing files: create, convert through, commit" {
	qemu-img create -q -f qcow2 base.qcow2 8M
	content base.qcow2 qcow2
	cp base.qcow2 was.qcow2
	img 0 create -b base.qcow2 -F qcow2 top.qcow2
	qemu-img compare -q base.qcow2 top.qcow2
	qemu-io -c "write -P 99 1M 77k" -c "write -z 5M 64k" -c "discard 6M 64k" top.qcow2 >/dev/null
	qemu-img convert -O raw top.qcow2 want.img
	img 0 convert top.qcow2 got.img
	cmp want.img got.img
	cmp base.qcow2 was.qcow2
	img 0 commit top.qcow2
	qemu-img check -q base.qcow2
	qemu-img check -q top.qcow2
	qemu-img compare -q -F raw base.qcow2 want.img
	qemu-img compare -q -F raw top.qcow2 want.img
	mkdir sub
	qemu-img create -q -f qcow2 -b ../base.qcow2 -F qcow2 sub/out.qcow2
	img 1 convert sub/out.qcow2 x.img
	says "outside"
	img 0 convert --any-backing sub/out.qcow2 x.img
	cmp want.img x.img
}

@test "img snapshot: in turn with qemu-img" {
	img 0 create a.qcow2 8M
	content a.qcow2 qcow2
	qemu-img convert -O raw a.qcow2 one.img
	img 0 snapshot create a.qcow2 one
	qemu-img snapshot -c two a.qcow2
	qemu-io -c "write -P 1 0 6M" a.qcow2 >/dev/null
	img 0 snapshot create a.qcow2 three
	img 0 snapshot list a.qcow2
	grep -q two "$console"
	[ "$(qemu-img snapshot -l a.qcow2 | grep -cE '(one|two|three)')" = 3 ]
	qemu-img check -q a.qcow2
	img 0 snapshot apply a.qcow2 two
	qemu-img compare -q -F raw a.qcow2 one.img
	qemu-img check -q a.qcow2
	qemu-img snapshot -d one a.qcow2
	img 0 snapshot delete a.qcow2 two
	img 0 snapshot delete a.qcow2 three
	img 0 check a.qcow2
	qemu-img check -q a.qcow2
	qemu-img compare -q -F raw a.qcow2 one.img
	img 1 snapshot delete a.qcow2 three
	says "three"
}

@test "img resize: larger, smaller only on request" {
	img 0 create a.qcow2 8M
	content a.qcow2 qcow2
	img 0 resize a.qcow2 +5000M
	qemu-img check -q a.qcow2
	qemu-io -c "read -P 0 7M 100M" -c "read -P 51 5M 1M" a.qcow2 | grep -q "Pattern verification failed" && fail "content"
	img 1 resize a.qcow2 2M
	says shrink
	img 0 resize --shrink a.qcow2 2M
	qemu-img check -q a.qcow2
	img 0 resize a.qcow2 8M
	qemu-io -c "read -P 0 2M 6M" -c "read -P 17 0 64k" a.qcow2 | grep -q "Pattern verification failed" && fail "content"
	qemu-img check -q a.qcow2
}

@test "img check: leaks 3, damage 4, both repaired" {
	img 0 create a.qcow2 8M
	content a.qcow2 qcow2
	cp a.qcow2 b.qcow2
	# Counts of 16 bits in the third cluster: the last one of the file once more, and one of data not at all.
	printf '\0\2' | dd of=a.qcow2 bs=1 seek=$((131072 + 2 * ($(stat -c %s a.qcow2) / 65536 - 1))) conv=notrunc status=none
	img 3 check a.qcow2
	img 0 check --repair a.qcow2
	qemu-img check -q a.qcow2
	printf '\0\0' | dd of=b.qcow2 bs=1 seek=$((131072 + 2 * 5)) conv=notrunc status=none
	img 4 check b.qcow2
	img 0 check --repair b.qcow2
	qemu-img check -q b.qcow2
	qemu-img compare -q a.qcow2 b.qcow2
	printf '\0\377\377' | dd of=b.qcow2 bs=1 seek=262144 conv=notrunc status=none
	img 4 check b.qcow2
}

@test "img: an image in use is locked, content decides no format" {
	img 0 create a.qcow2 8M
	exec 9<>a.qcow2
	python3 - <<-'EOP' 9>&9
	import fcntl, struct
	fcntl.fcntl(9, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
	EOP
	img 1 check --repair a.qcow2
	says "in use"
	img 0 info a.qcow2
	exec 9>&-
	img 0 check --repair a.qcow2
	cp a.qcow2 disk.img
	img 0 info disk.img
	grep -q "format: *raw" "$console"
	says "format="
	qemu-img create -q -f raw not.qcow2 1M
	img 1 info not.qcow2
	says "format=raw"
}

@test "img: Debian on a qcow2 overlay writes, powers off, and the file system is clean; --disk snapshot leaves no trace" {
	PATH=$PATH:/usr/sbin:/sbin
	"$tenon" img convert -c "$guests/debian.img" "$BATS_FILE_TMPDIR/base.qcow2"
	(cd "$BATS_FILE_TMPDIR" && "$tenon" img create --force -b base.qcow2 -F qcow2 disk.qcow2)
	cd "$BATS_FILE_TMPDIR"
	boot qcow2 300 'seq 1 200000 >/root/n; echo "T>sum=$(md5sum </root/n | cut -c1-32)"; rm -rf /usr/share/doc; fstrim -v / | sed "s/^/T>trim=/"; cat /sys/block/vda/queue/discard_max_bytes | sed "s/^/T>discard=/"; poweroff' \
		--kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" \
		--append "console=ttyS0 quiet root=/dev/vda rw" --memory 512M --disk disk.qcow2
	expect "exit status" "$status" -eq 0
	[ "$(answer sum)" = "$(seq 1 200000 | md5sum | cut -c 1-32)" ] || fail "checksum is $(answer sum)"
	[ "$(answer discard)" -gt 0 ] || fail "no discard"
	qemu-img check -q disk.qcow2
	qemu-img convert -O raw disk.qcow2 flat.img
	e2fsck -fn flat.img || fail "e2fsck"
	[ "$(debugfs -R 'cat /root/n' flat.img 2>/dev/null | md5sum)" = "$(seq 1 200000 | md5sum)" ] || fail "the file differs"
	sha256sum disk.qcow2 base.qcow2 >sums
	boot snapshot 300 'echo "T>n=$(wc -l </root/n)"; rm /root/n; sync; poweroff' \
		--kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" \
		--append "console=ttyS0 quiet root=/dev/vda rw" --memory 512M --disk disk.qcow2,snapshot
	expect "exit status" "$status" -eq 0
	[ "$(answer n)" = 200000 ] || fail "saw $(answer n) lines"
	sha256sum --quiet -c sums
}

@test "img: kill -9 in the middle of writes: no damage, and what was synced is there" {
	local pid i last out=$BATS_TEST_TMPDIR/killed

	PATH=$PATH:/usr/sbin:/sbin
	"$tenon" img convert "$guests/debian.img" kill.qcow2
	console=
	mkfifo in
	echo 'i=0; while :; do i=$((i+1)); seq $i $((i+20000)) >/root/f$i; sync; echo "T>synced=$i"; done' >script
	# Held open for both ways: the guest's terminal does not end.
	exec 8<>in
	cat script >&8
	"$tenon" run --kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" --memory 512M \
		--append "console=ttyS0 quiet root=/dev/vda rw" --disk kill.qcow2 <&8 >"$out" 2>"$out.errors" 3>&- &
	pid=$!
	for i in $(seq 1 1200); do
		grep -q 'T>synced=8' "$out" && break
		sleep 0.1
	done
	kill -9 $pid
	wait $pid || true
	exec 8>&-
	last=$(sed -n 's/^.*T>synced=\([0-9]*\).*/\1/p' "$out" | tail -n 1)
	[ "${last:-0}" -ge 8 ] || fail "synced: $last; $(tail -n 5 "$out")"
	status=0
	"$tenon" img check kill.qcow2 || status=$?
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || fail "check: $status"
	"$tenon" img check --repair kill.qcow2
	qemu-img check -q kill.qcow2
	qemu-img convert -O raw kill.qcow2 kill.img
	status=0
	e2fsck -fp kill.img || status=$?		# replays the journal
	[ "$status" -le 1 ] || fail "e2fsck: $status"
	for i in $(seq 1 "$last"); do
		[ "$(debugfs -R "cat /root/f$i" kill.img 2>/dev/null | md5sum)" = "$(seq "$i" $((i + 20000)) | md5sum)" ] ||
			fail "file $i of $last differs"
	done
}
