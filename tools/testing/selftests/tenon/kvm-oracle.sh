#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# kvm-oracle.sh MODULE TESTS API.RST KVM-SELFTESTS: inside the test bed, the kernel's own tests of KVM, as built, on the
# module in the place of /dev/kvm, and on kvm_amd of the same kernel. What passes there passes here, or is skipped for want
# of a capability; exceptions are those that api.rst names, with a reason. TAP.
. "$(dirname "$0")/common.sh"
api=${3:?api.rst} dir=${4:?tools/testing/selftests/kvm, built}
tmp=${TMPDIR:-/tmp}

# results FILE: each test's exit status. Not those that measure, nor those of other makers' processors and guests.
results()
{
	local t

	: >"$1"
	cd "$dir" || exit 1
	for t in x86_64/*_test x86_64/debug_regs x86_64/get_msr_index_features x86_64/set_boot_cpu_id \
		kvm_create_max_vcpus set_memory_region_test steal_time system_counter_offset_test kvm_binary_stats_test; do
		case $t in *vmx*|*amx*|*hyperv*|*xen*|*sev*|*nx_huge*) continue ;; esac
		[ -x "$t" ] || continue
		timeout -k 2 45 "./$t" >"$tmp/out" 2>&1
		echo "${t##*/} $?" >>"$1"
	done
	cd - >/dev/null || exit 1
}

insmod "$ko" || { echo "Bail out! insmod $ko failed"; exit 1; }
[ -e /dev/kvm ] || : >/dev/kvm
mount --bind /dev/tenon /dev/kvm
results "$tmp/tenon"
umount /dev/kvm
rmmod tenon
[ -c /dev/kvm ] || rm -f /dev/kvm
modprobe -d "$TENON_BED_MODULES" kvm_amd
results "$tmp/kvm"
while read -r name ours theirs; do
	what="$name: $ours, on kvm_amd $theirs"
	if [ "$theirs" != 0 ] || [ "$ours" = 0 ] || [ "$ours" = 4 ]; then
		ok 0 "$what"
	else
		grep -q "^- \`\`$name\`\`: " "$api"
		ok $? "$what"
	fi
done <<<"$(join "$tmp/tenon" "$tmp/kvm")"
finish
