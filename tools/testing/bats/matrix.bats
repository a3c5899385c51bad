#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-only
#
# A sample of the settings under which guests are run; full.bats has all of them.
# Without local APIC Linux warns of every MSI-X device it finds before it falls back: hence pci=nomsi there.

load guest

@test "matrix: cloud, 4 CPUs, 5 GiB: RAM above 4 GiB is used" {
	try cloud amd64 4 5120 4 ""
}

@test "matrix: cloud, 4 CPUs given, nosmp noapic" {
	try cloud amd64 4 512 1 "nosmp noapic"
}

@test "matrix: cloud, nolapic" {
	try cloud amd64 1 512 1 "nolapic pci=nomsi"
}

@test "matrix: cloud, acpi=off, ended by a reset" {
	GUEST_END="reboot -f" GUEST_STATUS=3 try cloud amd64 1 512 1 "acpi=off pci=nomsi" --no-reboot
}

@test "matrix: cloud, nopti nokaslr" {
	try cloud amd64 1 512 1 "nopti nokaslr"
}

@test "matrix: cloud, 32-bit programs" {
	try cloud i386 1 512 1 ""
}
