#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# boot.sh MODULE LAUNCHER GUESTS CASE...: inside the test bed, Debian's kernel boots to its shell on the module. TAP.
#
#	tenon:CPUS:kernel|split[:ARGS]	by `tenon run`, with the interrupt controllers there
#	qemu:CPUS:on|split[:ARGS]	by Debian's QEMU, through SeaBIOS, with /dev/tenon in the place of /dev/kvm
#	tenon-reboot:..., qemu-reboot:...	the same, and the guest reboots once before it powers off
#
# ARGS go to the guest's command line, $TENON_PARAMS to insmod.
ko=${1:?tenon.ko} launcher=${2:?tenon} guests=${3:?directory of guests}
shift 3
tmp=${TMPDIR:-/tmp}
append="console=ttyS0 panic=-1 quiet cryptomgr.notests initcall_blacklist=load_system_certificate_list"
limit=${TENON_BOOT_LIMIT:-400}

# prompt N: wait for the Nth. What is typed earlier, a serial port without flow control loses.
prompt()
{
	until [ "$(grep -c 'guest# ' "$tmp/console")" = "$1" ]; do
		sleep 0.5
		kill -0 "$(cat "$tmp/pid")" 2>/dev/null || return
	done
}

# The sum is not in what comes back as it is typed.
type_in()
{
	prompt 1 || return
	if [ "$reboot" ]; then
		echo 'reboot -f'
		prompt 2 || return
	fi
	echo 'echo "MARK-$((40 + 2)) $(nproc) CPUs"; poweroff -f'
}

run_tenon()
{
	exec timeout -s KILL "$limit" "$launcher" run --accel module --irqchip "$2" --net none -c "$1" -m 256M \
		-k "$guests/cloud/vmlinuz" -i "$guests/initrd-cloud-amd64" -a "$append $3"
}

# QEMU opens one path only: it gets a mount namespace where that is the module's node.
run_qemu()
{
	[ -e /dev/kvm ] || : >/dev/kvm
	exec unshare -m sh -c 'mount --bind /dev/tenon /dev/kvm && exec "$@"' sh \
		timeout -s KILL "$limit" qemu-system-x86_64 -accel "kvm,kernel-irqchip=$2" -cpu host -smp "$1" -m 256M \
		-nographic -nodefaults -serial stdio $([ "$reboot" ] || echo -no-reboot) \
		-kernel "$guests/cloud/vmlinuz" -initrd "$guests/initrd-cloud-amd64" -append "$append $3"
}

echo "TAP version 13"
echo "1..$#"
insmod "$ko" $TENON_PARAMS || { echo "Bail out! insmod $ko failed"; exit 1; }
n=0 bad=0
for case in "$@"; do
	IFS=: read -r vmm cpus chips args <<<"$case"
	reboot=
	[ "${vmm%-reboot}" = "$vmm" ] || reboot=1
	vmm=${vmm%-reboot}
	n=$((n + 1))
	read -r from _ </proc/uptime
	: >"$tmp/console"
	mkfifo "$tmp/keys"
	"run_$vmm" "$cpus" "$chips" "$args" <"$tmp/keys" >"$tmp/console" 2>&1 &
	echo $! >"$tmp/pid"
	type_in >"$tmp/keys"
	wait $!
	status=$?
	rm "$tmp/keys"
	read -r to _ </proc/uptime
	if [ $status = 0 ] && grep -q "MARK-42 $cpus CPUs" "$tmp/console" &&
	   { [ "$vmm" = tenon ] || grep -q SeaBIOS "$tmp/console"; }; then
		echo "ok $n - $case: from $from s to $to s"
	else
		echo "not ok $n - $case: status $status, from $from s to $to s"
		tail -n 30 "$tmp/console" | tr -d '\r' | sed 's/^/#   /'
		bad=1
	fi
done
rmmod tenon || bad=1
exit $bad
