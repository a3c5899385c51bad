#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# In the test bed: Debian with systemd boots on the module to its login, and powers off when root asks for it:
#
#	systemd.sh KO TENON GUESTS
set -uo pipefail
ko=$1 tenon=$2 guests=$3
d=$(mktemp -d)
mkfifo "$d/in"
exec 9<>"$d/in"
touch "$d/console"

# when PATTERN TEXT: types TEXT once the console shows PATTERN
when()
{
	until grep -aq -- "$1" "$d/console"; do sleep 0.5; done
	printf '%s\n' "$2" >&9
}

insmod "$ko" || exit 1
{
	when 'login: ' root
	when 'Password: ' tenon
	when '~#' 'systemctl is-system-running --wait | sed "s/^/T>state=/"; systemctl poweroff'
} &
typist=$!
"$tenon" run --accel module -k "$guests/cloud/vmlinuz" -i "$guests/initrd-cloud-amd64" -a 'console=ttyS0 root=/dev/vda rw' \
	-m 512M --net user --disk "$guests/systemd.qcow2,snapshot" <"$d/in" >"$d/console" 9>&-
status=$?
kill $typist 2>/dev/null
tail -n 20 "$d/console" | tr -d '\r' | sed 's/^/# /'
[ $status = 0 ] && grep -aq 'T>state=running' "$d/console" && rmmod tenon && echo "ok 1 - a login, all units, and an orderly end"
