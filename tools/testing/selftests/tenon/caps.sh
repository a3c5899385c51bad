#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# caps.sh MODULE TESTS API.RST KVM.H: inside the test bed, what the module offers is what the table of Documentation/api.rst
# lists: names by the kernel's own header, values where the table has a number. An asterisk: depends on the processor.
. "$(dirname "$0")/common.sh"
api=${3:?api.rst} header=${4:?kvm.h}
insmod "$ko" || { echo "Bail out! insmod $ko failed"; exit 1; }
offered=$(TENON_DEV=/dev/tenon "$tests/basic" --offered)
rmmod tenon
rows=$(sed -n 's/^``\([A-Z0-9_]*\)`` \(\**\) *\([^ ]*\).*/\1 \2\3/p' "$api")
declare -A value listed
while read -r nr v; do value[$nr]=$v; done <<<"$offered"
while read -r name v; do
	star=
	[ "${v#\*}" = "$v" ] || star=1
	nr=$(awk -v n="KVM_CAP_$name" '$1 == "#define" && $2 == n { print $3 }' "$header")
	listed[$nr]=1
	[ -z "$star" ] || continue
	if [[ $v =~ ^(0x[0-9a-f]+|[0-9]+)$ ]]; then
		[ "${value[$nr]:-0}" = $((v)) ]
		ok $? "$name is ${value[$nr]:-0}, documented $((v))"
	else
		[ "${value[$nr]:-0}" -gt 0 ]
		ok $? "$name is ${value[$nr]:-0}"
	fi
done <<<"$rows"
for nr in "${!value[@]}"; do
	[ -n "${listed[$nr]}" ]
	ok $? "capability $nr is in the table"
done
finish
