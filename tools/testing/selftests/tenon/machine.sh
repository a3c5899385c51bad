#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# In the test bed: tests of whole machines (tools/testing/bats), which elsewhere run on the software CPU, on the module.
#
#	machine.sh KO TENON [BATS ARGUMENT...] FILE...
#
# Their guests are those of $TENON_CACHE; what a test writes, it writes to memory.
set -uo pipefail
ko=$1 tenon=$2
shift 2
insmod "$ko" || exit 1
for m in tun bridge; do modprobe -d "$TENON_BED_MODULES" $m || exit 1; done
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
export TENON_BIN=$TMPDIR/tenon TENON_SLOW=${TENON_SLOW:-3}
# Not by --accel auto: it would take the software CPU if the module did not work.
cat >"$TENON_BIN" <<WRAPPER
#!/bin/sh
[ "\$1" = run ] || exec $tenon "\$@"
shift
exec $tenon run --accel module "\$@"
WRAPPER
chmod +x "$TENON_BIN"
bats --tap "$@"
status=$?
rmmod tenon || status=1
exit $status
