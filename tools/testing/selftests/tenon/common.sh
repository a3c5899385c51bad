# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Sourced by the scripts that run inside the test bed. MODULE TESTS are their arguments. TAP.

ko=${1:?tenon.ko} tests=${2:?directory of the built tests}
n=0 failed=0

# ok STATUS WHAT
ok()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=1
	fi
}

finish()
{
	echo "1..$n"
	exit $failed
}

# A VM whose guest spins, in the background: $held.
hold()
{
	"$tests/vms" hold >/run/held &
	held=$!
	until [ -s /run/held ]; do sleep 0.05; kill -0 $held 2>/dev/null || return 1; done
}

unhold()
{
	kill -9 $held
	wait $held 2>/dev/null
	rm /run/held
}

# Does one that halts work, on the node of $TENON_DEV?
works()
{
	"$tests/vms" once 2>/dev/null
}

echo "TAP version 13"
