#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# --share: directories of the host mounted in a guest. The oracle is the host's view of them.

load guest

kernel=(--net none --kernel "$guests/generic/vmlinuz" --modules "$guests/generic/modules")

setup_file()
{
	local d=$BATS_FILE_TMPDIR

	load guest
	mkdir -p "$d"/{rw,ro,outside}
	echo secret >"$d/outside/secret"
	ln -s ../outside "$d/rw/escape"
	echo text >"$d/ro/file"
	head -c 3000000 /dev/urandom >"$d/ro/big"
	for i in $(seq 1 300); do
		: >"$d/ro/many$i"
	done
	cat >"$d/rw/test.sh" <<-'END'
	cd /mnt/rw
	[ ! -e escape/secret ] && [ ! -e ../outside ] && echo "T>escape=none"
	echo "T>sum=$(md5sum </mnt/ro/big | cut -c1-32)"
	cp /mnt/ro/big copy && cmp /mnt/ro/big copy && echo "T>copy=same"
	echo "T>count=$(ls /mnt/ro | grep -c many)"
	echo x 2>/dev/null >/mnt/ro/new || echo "T>readonly=refused"
	rm /mnt/ro/file 2>/dev/null || echo "T>remove=refused"
	for i in 1 2 3 4; do (for j in $(seq 1 50); do echo "$i $j" >>log; done) & done
	wait
	mkdir -p a/b && mv log a/b/log && ln a/b/log hard && ln -s a/b/log soft && echo "T>lines=$(wc -l <soft)"
	exec 3<>gone; echo unlinked >&3; rm gone; ls /proc/self/fd/3 >/dev/null; echo "T>gone=$(cat /proc/$$/fd/3 2>/dev/null | wc -l)"
	mknod disk b 8 0 2>/dev/null || echo "T>mknod=refused"
	chmod 4755 hard && touch -d '2001-02-03 04:05:06 UTC' copy
	mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose cached /mnt/cached
	cd /mnt/cached
	seq 1 1000 >cached; for j in 1 2 3; do echo more >>cached; done
	cd /; umount /mnt/cached && echo "T>cached=unmounted"
	END
	cat >"$d/go" <<-'END'
	mkdir -p /mnt/rw /mnt/ro /mnt/cached
	mount -t 9p -o trans=virtio,version=9p2000.L rw /mnt/rw
	mount -t 9p -o trans=virtio,version=9p2000.L share1 /mnt/ro
	. /mnt/rw/test.sh
	END
	boot share 400 '' "${kernel[@]}" --cpus 2 --rootfs "$guests/rootfs,ro" --share "$d/rw,tag=rw" --share "$d/ro,ro" \
		--share "$d/rw,tag=cached" -- /bin/sh -c "$(cat "$d/go")"
}

@test "share: two directories are mounted by their tags" {
	recall share
	expect "exit status" "$status" -eq 0
	[ "$(answer sum)" = "$(md5sum <"$BATS_FILE_TMPDIR/ro/big" | cut -c 1-32)" ] || fail "read something else: $(answer sum)"
	expect "entries" "$(answer count)" -eq 300
}

@test "share: nothing outside is reached through a link" {
	recall share
	[ "$(answer escape)" = none ] || fail "it was"
}

@test "share: what the guest wrote is there" {
	local d=$BATS_FILE_TMPDIR/rw

	recall share
	[ "$(answer copy)" = same ] || fail "the guest's copy differs"
	cmp "$BATS_FILE_TMPDIR/ro/big" "$d/copy" || fail "the copy differs on the host"
	[ "$(stat -c %Y "$d/copy")" = "$(date -d '2001-02-03 04:05:06 UTC' +%s)" ] || fail "its time differs"
	[ "$(stat -c '%a %h' "$d/a/b/log")" = "4755 2" ] || fail "mode and links: $(stat -c '%a %h' "$d/a/b/log")"
	[ "$(readlink "$d/soft")" = a/b/log ] || fail "the link differs"
	[ ! -e "$d/gone" ] || fail "a removed file is there"
}

@test "share: four processes append to one file and lose nothing" {
	recall share
	expect "lines, by the guest" "$(answer lines)" -eq 200
	expect "lines" "$(sort -u "$BATS_FILE_TMPDIR/rw/a/b/log" | wc -l)" -eq 200
}

@test "share: a cached mount writes back what it was given" {
	recall share
	[ "$(answer cached)" = unmounted ] || fail "not unmounted"
	cmp <(seq 1 1000; echo more; echo more; echo more) "$BATS_FILE_TMPDIR/rw/cached" || fail "the file differs"
}

@test "share: read-only is read-only" {
	recall share
	[ "$(answer readonly)" = refused ] && [ "$(answer remove)" = refused ] || fail "not refused"
	[ "$(cat "$BATS_FILE_TMPDIR/ro/file")" = text ] || fail "the file differs"
	[ "$(find "$BATS_FILE_TMPDIR/ro" | wc -l)" -eq 303 ] || fail "the directory has changed"
}

@test "share: a guest makes no device nodes" {
	recall share
	[ "$(answer mknod)" = refused ] || fail "not refused"
}

@test "share: what can't be shared is refused with a reason" {
	run "$tenon" run "${kernel[@]:2:2}" --share /nonexistent
	[ "$status" -eq 1 ] && [[ $output == */nonexistent* ]] || fail "no directory: $output"
	run "$tenon" run "${kernel[@]:2:2}" --share /etc/passwd
	[ "$status" -eq 1 ] && [[ $output == *directory* ]] || fail "a file: $output"
	run "$tenon" run "${kernel[@]:2:2}" --share /tmp,tag=a --share /etc,tag=a
	[ "$status" -eq 2 ] && [[ $output == *tag* ]] || fail "one tag for two: $output"
	run "$tenon" run "${kernel[@]:2:2}" --share ,ro
	[ "$status" -eq 2 ] || fail "no name: $output"
}
