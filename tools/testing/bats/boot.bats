#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# An unmodified Debian kernel boots to its shell; what a person types there works. Oracle: the host's clock and tools.

load guest

setup_file()
{
	load guest
	# earlyprintk: with it a kernel that dies early says why.
	ask one 240 cloud amd64 "earlyprintk=ttyS0" --cpus 1 --memory 256M
	ask four 300 cloud amd64 "" --cpus 4 --memory 1G
}

@test "boot: 1 CPU, 256 MiB: shell, clocks, power-off" {
	recall one
	check_answers 1 160 256
}

@test "boot: the kernel is the one that was given" {
	recall one
	[ "$(answer release)" = "$(cat "$guests/cloud/version")" ] || fail "release is $(answer release)"
}

@test "boot: the banner comes before what was typed runs" {
	recall one
	grep -q "^Tenon guest: Linux $(cat "$guests/cloud/version") x86_64, 1 CPU(s)" "$console" || fail "no banner"
}

@test "boot: the serial port works by interrupts" {
	recall one
	expect "serial interrupts" "$(answer uart)" -ge 10
}

@test "boot: the clock source does not depend on timer ticks" {
	recall one
	case $(answer clocksource) in
	tsc|tsc-early|acpi_pm) ;;
	*) fail "clocksource is $(answer clocksource)" ;;
	esac
}

@test "boot: 4 CPUs, 1 GiB: every CPU runs programs, clocks, power-off" {
	recall four
	check_answers 4 880 1024
}

@test "boot: typed commands see one another's effects, and Ctrl-D leaves" {
	boot typed 240 $'cd /tmp; echo "two words" >a\ncat a | wc -w | sed "s/^/T>words=/"\necho "T>status=$(false; echo $?)"\nexit' \
		--kernel "$guests/cloud/vmlinuz" --initrd "$guests/initrd-cloud-amd64" \
		--append "console=ttyS0 quiet" --memory 256M
	expect "exit status" "$status" -eq 0
	expect "words" "$(answer words)" -eq 2
	expect "status of false" "$(answer status)" -eq 1
}
