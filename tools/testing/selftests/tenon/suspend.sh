#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# suspend.sh MODULE TESTS: inside the test bed, from RAM, the machine sleeps under a VM that runs: first all of it but the
# firmware's part (pm_test), then suspend to RAM until the clock wakes it.
. "$(dirname "$0")/common.sh"
rtc=/sys/class/rtc/rtc0

# nap HOW: sleeps, and the VM is still there after it, and another can be made.
nap()
{
	echo "$1" >/sys/power/pm_test && echo mem >/sys/power/state && kill -0 $held && works
}

insmod "$ko"
hold
ok $? "a VM runs"
echo 1 >/sys/module/suspend/parameters/pm_test_delay
nap core
ok $? "it runs on after a suspend that stops at the firmware"
echo deep >/sys/power/mem_sleep
# An alarm that comes before the machine sleeps does not wake it.
echo 0 >$rtc/wakealarm && echo "+$((4 * ${TENON_SLOW:-1}))" >$rtc/wakealarm && nap none
ok $? "it runs on after suspend to RAM"
dmesg | grep -q 'ACPI: PM: Waking up from system sleep state S3'
ok $? "which was one"
unhold
sleep 0.5
rmmod tenon
ok $? "unloaded"
finish
