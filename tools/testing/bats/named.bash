# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Loaded by the bats tests of named machines, which run in the background: start() and ended() of guest.bash.

load guest

setup()
{
	load guest
	named_setup
}

teardown()
{
	named_teardown
}

# linux NAME ARGUMENT...: one with a shell
linux()
{
	start "$1" -k "$guests/cloud/vmlinuz" -i "$guests/initrd-cloud-amd64" -a 'console=ttyS0 quiet' -m 256M "${@:2}"
	until_true grep -q 'to leave' "$console"
}

# keys NAME TEXT: into the console of the machine
keys()
{
	printf '%s\n' "$2" | timeout 2 "$tenon" console "$1" >/dev/null 2>&1 || true
}

# said TEXT: did the guest?
said()
{
	grep -q "T>$1" "$console"
}
