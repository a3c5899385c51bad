#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# Debian as mmdebstrap installs it, on a qcow2 disk: systemd up to the login, and packages from a server on the host.
# Oracles: systemd's own word, apt's checksums, e2fsck.

load guest

PATH=$PATH:/usr/sbin:/sbin

# when PATTERN TEXT: types TEXT once the console shows PATTERN
when()
{
	local n

	for ((n = 0; n < 1800 * ${TENON_SLOW:-1}; n++)); do
		! grep -aqs -- "$1" "$console" || break
		sleep 0.1
	done
	printf '%s\n' "$2"
}

# What root is asked. The prompt and the echo are out of the way: lines with a "T>" are answers.
questions()
{
	when 'login: ' root
	when 'Password: ' tenon
	when '~#' "stty -echo; PS1='ready''> '"
	# One command for the shell, which reads on before it is done otherwise, as do the programs that it runs.
	when 'ready> ' "{ systemctl is-system-running --wait | sed 's/^/T>state=/'
systemctl --failed --no-legend --plain | sed 's/^/T>failed=/'
networkctl status --no-pager | sed -n 's/^ *Address: \([0-9.]*\).*/T>address=\1/p'
echo 'deb [trusted=yes] http://10.0.2.2:$port ./' >/etc/apt/sources.list
apt-get update >/root/log 2>&1; echo \"T>update=\$?\"
apt-get -y install hello >>/root/log 2>&1; echo \"T>install=\$?\"
sed 's/^/apt: /' /root/log
hello | sed 's/^/T>hello=/'
dpkg --audit | sed 's/^/T>audit=/'
seq 1 300000 >/root/n; md5sum </root/n | sed 's/ .*//; s/^/T>sum=/'
systemctl poweroff
} </dev/null"
}

# A repository with the package hello, as dpkg-scanpackages lays one out.
repository()
{
	local deb=$1/hello.deb

	dpkg-deb -f "$deb"
	echo "Filename: ./hello.deb"
	echo "Size: $(stat -c %s "$deb")"
	echo "SHA256: $(sha256sum <"$deb" | cut -d ' ' -f 1)"
}

setup_file()
{
	load guest
	local d=$BATS_FILE_TMPDIR status=0

	[ -s "$guests/systemd.qcow2" ] || return 0
	mkdir "$d/www"
	cp "$guests/hello.deb" "$d/www/"
	repository "$d/www" >"$d/www/Packages"
	port=$(python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
	"$guests/busybox-amd64" httpd -f -p "127.0.0.1:$port" -h "$d/www" 3>&- &
	echo $! >"$d/httpd.pid"
	"$tenon" img create -f qcow2 -b "$guests/systemd.qcow2" --any-backing "$d/disk.qcow2"
	console=$d/systemd
	set -- --kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" --append 'console=ttyS0 root=/dev/vda rw' \
		--memory 512M --cpus 2 --net user,host-loopback --disk "$d/disk.qcow2,backing=any"
	echo "tenon run $*" >"$console.command"
	: >"$console"
	questions 3>&- | limit 300 "$tenon" run "$@" >"$console" 2>"$console.errors" || status=$?
	tr -d '\r' <"$console" >"$console.txt" && mv "$console.txt" "$console"
	echo $status >"$console.status"
	kill "$(cat "$d/httpd.pid")" || true
}

setup()
{
	[ -s "$guests/systemd.qcow2" ] || skip "no disk: see scripts/guest-systemd"
	recall systemd
}

@test "systemd: Debian on qcow2 boots to a login, with all of its units, and powers off" {
	expect "exit status" "$status" -eq 0
	[ "$(answer state)" = running ] || fail "the system is $(answer state)"
	[ -z "$(answer failed)" ] || fail "failed: $(answer failed)"
	grep -aq 'Reached target.*poweroff' "$console" || fail "no orderly end"
}

@test "systemd: apt-get installs a package from a server on the host" {
	[ "$(answer address)" = 10.0.2.15 ] || fail "the address is $(answer address)"
	expect "apt-get update" "$(answer update)" -eq 0
	expect "apt-get install" "$(answer install)" -eq 0
	[ "$(answer hello)" = 'Hello, world!' ] || fail "the program says $(answer hello)"
	[ -z "$(answer audit)" ] || fail "dpkg: $(answer audit)"
}

@test "systemd: the file system is clean afterwards, with what was written" {
	"$tenon" img convert -O raw "$BATS_FILE_TMPDIR/disk.qcow2" "$BATS_TEST_TMPDIR/raw" --any-backing
	run qemu-img check -q "$BATS_FILE_TMPDIR/disk.qcow2"
	[ "$status" -eq 0 ] || fail "qemu-img check: $output"
	run e2fsck -fn "$BATS_TEST_TMPDIR/raw"
	[ "$status" -eq 0 ] || fail "e2fsck: $output"
	[ "$(debugfs -R 'cat /root/n' "$BATS_TEST_TMPDIR/raw" 2>/dev/null | md5sum)" = "$(seq 1 300000 | md5sum)" ] ||
		fail "the file differs"
	[ "$(answer sum)" = "$(seq 1 300000 | md5sum | cut -c 1-32)" ] || fail "the guest read something else"
}
