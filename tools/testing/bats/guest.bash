# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Loaded by the bats tests: starts guests, types into them, and reads what they say.
#
#	TENON_BIN	the launcher (default: $O/tenon)
#	TENON_CACHE	the guests (default: $O/guest)
#	TENON_SLOW	multiplies every time limit (default 1)
#
# A time limit is a watchdog, not a measurement: it is far above what a guest needs on a slow machine.

top=$(cd "$BATS_TEST_DIRNAME/../../.." && pwd)
out=${O:-build}
case $out in /*) ;; *) out=$top/$out ;; esac
tenon=${TENON_BIN:-$out/tenon}
guests=${TENON_CACHE:-$out/guest}

# limit SECONDS COMMAND...: stopped with status 124 (137 if it had to be killed)
limit()
{
	local seconds=$(($1 * ${TENON_SLOW:-1}))

	shift
	timeout -k 10 "$seconds" "$@"
}

# with_script INITRD SCRIPT OUT [FILE...]: INITRD with SCRIPT's text as /test.sh, and with FILEs
with_script()
{
	local d

	d=$(mktemp -d "$BATS_FILE_TMPDIR/script.XXXXXX")
	printf '%s\n' "$2" >"$d/test.sh"
	[ $# -eq 3 ] || cp "${@:4}" "$d"
	{
		cat "$1"
		(cd "$d" && find . -type f | cpio -o -H newc -R 0:0 --quiet)
	} >"$3"
	rm -r "$d"
}

# What every guest of the matrix is asked. Lines with a "T>" go to the test; ticks are /proc/interrupts' counts of
# timer interrupts, whoever delivers them. A bare "sleep 5" stands between two marks, which the host times.
guest_questions='
ticks() { awk "/timer|LOC:/ { for (i = 2; i <= NF; i++) if (\$i ~ /^[0-9]+\$/) n += \$i } END { print n }" /proc/interrupts; }
echo "T>release=$(uname -r)"
echo "T>machine=$(uname -m)"
echo "T>cpus=$(grep -c ^processor /proc/cpuinfo)"
echo "T>mem=$(awk "/MemTotal/ { print int(\$2 / 1024) }" /proc/meminfo)"
echo "T>clocksource=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
a=$(ticks)
echo "T>sleep"
sleep 5
echo "T>slept"
b=$(ticks)
echo "T>ticks=$((b - a))"
awk "/ttyS0/ { for (i = 2; i <= NF; i++) if (\$i ~ /^[0-9]+\$/) n += \$i } END { print \"T>uart=\" n + 0 }" /proc/interrupts
echo "T>date=$(date +%s)"
n=0; for c in $(seq 0 $(($(nproc) - 1))); do taskset $(printf %x $((1 << c))) sh -c "exit 42"; [ $? = 42 ] && n=$((n + 1)); done
echo "T>ran=$n"
echo "T>sum=$(seq 1 20000 | md5sum | cut -c1-32)"
dmesg | grep -E "BUG:|Oops|WARNING:|Call Trace|soft lockup|rcu.*stall|clocksource.*unstable|Marking clocksource" | sed "s/^/T>bad=/"
'

typed()
{
	printf '%s\n' "$1"
}

# boot NAME SECONDS INPUT ARGUMENT...: runs a guest with INPUT typed; leaves $console, $status and stamps. What a guest
# has not read when it resets is lost with it: ${GUEST_FEED}, a function, can type later instead.
# Every line of $console.times is "SECONDS LINE", by the host's clock.
boot()
{
	local name=$1 seconds=$2 input=$3

	shift 3
	console=$BATS_FILE_TMPDIR/$name
	echo "$tenon run $*" >"$console.command"
	set +o pipefail
	: >"$console.times"
	${GUEST_FEED:-typed} "$input" | limit "$seconds" "$tenon" run "$@" 2>"$console.errors" |
		while IFS= read -r line; do
			printf '%s %s\n' "$EPOCHREALTIME" "${line%$'\r'}"
		done >"$console.times"
	status=${PIPESTATUS[1]}
	cut -d ' ' -f 2- "$console.times" >"$console"
	echo "$status" >"$console.status"
}

# ask NAME SECONDS KERNEL ARCH APPEND ARGUMENT...: boots a guest with the questions and types them in.
# GUEST_END is what ends it (poweroff -f), GUEST_ALSO what is asked as well, GUEST_FILES are files it finds in /.
ask()
{
	local name=$1 seconds=$2 kernel=$3 arch=$4 append=$5

	shift 5
	# shellcheck disable=SC2086
	with_script "$guests/initrd-$kernel-$arch" "$guest_questions${GUEST_ALSO-}" "$BATS_FILE_TMPDIR/$name.initrd" ${GUEST_FILES-}
	boot "$name" "$seconds" ". /test.sh; ${GUEST_END:-poweroff -f}" --kernel "$guests/$kernel/vmlinuz" \
		--initrd "$BATS_FILE_TMPDIR/$name.initrd" --append "console=ttyS0 $append" "$@"
	rm -f "$BATS_FILE_TMPDIR/$name.initrd"
}

# recall NAME: a guest that setup_file() ran
recall()
{
	console=$BATS_FILE_TMPDIR/$1
	status=$(cat "$console.status")
}

# answer KEY: what the guest said to a question
answer()
{
	sed -n "s/^.*T>$1=//p" "$console" | tail -n 1
}

# stamp LINE: the host's time at which the guest printed it
stamp()
{
	awk -v line="$1" '$2 == line { print $1; exit }' "$console.times"
}

# Shown with a failed test only.
show()
{
	echo "command: $(cat "$console.command")"
	echo "status: $status"
	sed 's/^/stderr: /' "$console.errors" | tail -n 20
	tail -n "${1:-40}" "$console" | tr -d '\000-\010\013-\037' | sed 's/^/console: /'
}

fail()
{
	echo "$*"
	[ -z "${console-}" ] || show
	return 1
}

# expect WHAT ACTUAL OPERATOR VALUE: a numeric comparison as in test(1)
expect()
{
	[ -n "$2" ] || fail "$1: the guest did not say"
	[ "$2" "$3" "$4" ] || fail "$1 is $2, wanted $3 $4"
}

# check_answers CPUS MIN-MEM MAX-MEM: what holds for every guest of the matrix
check_answers()
{
	local begin end now ms

	expect "exit status" "$status" -eq "${GUEST_STATUS:-0}"
	expect "number of CPUs" "$(answer cpus)" -eq "$1"
	expect "number of CPUs that ran a program" "$(answer ran)" -eq "$1"
	expect "memory, MiB" "$(answer mem)" -ge "$2"
	expect "memory, MiB" "$(answer mem)" -le "$3"
	[ "$(answer sum)" = "$(seq 1 20000 | md5sum | cut -c 1-32)" ] || fail "a checksum is wrong: $(answer sum)"
	[ -z "$(answer bad)" ] || fail "the kernel complained: $(answer bad)"
	expect "timer interrupts in 5 s" "$(answer ticks)" -ge 5
	begin=$(stamp 'T>sleep') end=$(stamp 'T>slept')
	[ -n "$begin" ] && [ -n "$end" ] || fail "the guest did not sleep"
	ms=$(awk -v a="$begin" -v b="$end" 'BEGIN { print int((b - a) * 1000) }')
	expect "sleep 5 by the host's clock, ms" "$ms" -ge 4900
	expect "sleep 5 by the host's clock, ms" "$ms" -le 7000
	now=$(awk '/T>date=/ { print int($1); exit }' "$console.times")
	expect "guest's date - host's, s" "$(($(answer date) - now))" -ge -2
	expect "guest's date - host's, s" "$(($(answer date) - now))" -le 2
}

# tiny NAME: builds a kernel of tools/testing/bats/kernels, prints its path
tiny()
{
	local k=$BATS_FILE_TMPDIR/$1.elf

	[ -e "$k" ] || gcc -m32 -nostdlib -static -no-pie -Wl,--build-id=none,--no-warn-rwx-segments,-N -Wl,-Ttext=0x100000 -o "$k" \
		"$BATS_TEST_DIRNAME/kernels/$1.S" >&2
	echo "$k"
}

# try KERNEL ARCH CPUS MIB SEEN-CPUS APPEND ARGUMENT...: one cell of the matrix, boot to power-off
try()
{
	local kernel=$1 arch=$2 cpus=$3 mib=$4 seen=$5 append=$6

	shift 6
	ask try "${GUEST_LIMIT:-240}" "$kernel" "$arch" "$append" --cpus "$cpus" --memory "${mib}M" "$@"
	check_answers "$seen" $((mib * 94 / 100 - 80)) "$mib"
	case $arch in
	amd64) [ "$(answer machine)" = x86_64 ] || fail "machine is $(answer machine)" ;;
	esac
}

# Named machines, which run in the background: named_setup() and named_teardown() for setup() and teardown().
named_setup()
{
	export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run
	mkdir -m 700 "$XDG_RUNTIME_DIR"
	console=$BATS_TEST_TMPDIR/console
	sock=$XDG_RUNTIME_DIR/tenon
}

named_teardown()
{
	[ -z "${pid-}" ] || { kill -KILL "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; } || true
}

# until_true COMMAND...: waits for it, 240 s at most
until_true()
{
	local n

	for ((n = 0; n < 2400 * ${TENON_SLOW:-1}; n++)); do
		! "$@" || return 0
		sleep 0.1
	done
	status=none
	fail "never: $*"
}

# start NAME ARGUMENT...: a machine in the background, which takes no input; leaves $pid
start()
{
	local name=$1

	shift
	echo "tenon run --name $name $*" >"$console.command"
	"$tenon" run --net none --name "$name" "$@" >"$console" 2>"$console.errors" </dev/null 3>&- &
	pid=$!
	until_true test -S "$sock/$name.sock"
}

# ended: waits for it; leaves $status
ended()
{
	status=0
	wait "$pid" || status=$?
	pid=
}

# with_modules KERNEL SCRIPT OUT MODULE...: its initial RAM disk with SCRIPT's text as /test.sh, and these modules of
# the kernel, by their paths below kernel/, as /modules/NAME.ko
with_modules()
{
	local kernel=$1 d m from

	d=$(mktemp -d "$BATS_FILE_TMPDIR/modules.XXXXXX")
	mkdir "$d/modules"
	printf '%s\n' "$2" >"$d/test.sh"
	for m in "${@:4}"; do
		from=$(echo "$guests/$kernel"/modules/lib/modules/*/kernel/"$m".ko*)
		case $from in
		*.xz) xz -dc "$from" ;;
		*) cat "$from" ;;
		esac >"$d/modules/${m##*/}.ko"
	done
	{
		cat "$guests/initrd-$kernel-amd64"
		(cd "$d" && find modules test.sh | cpio -o -H newc -R 0:0 --quiet)
	} >"$3"
	rm -r "$d"
}

# with_program INITRD NAME OUT: INITRD with programs/NAME.c, compiled, as /NAME
with_program()
{
	local d

	d=$(mktemp -d "$BATS_FILE_TMPDIR/program.XXXXXX")
	gcc -O2 -Wall -static -o "$d/$2" "$BATS_TEST_DIRNAME/programs/$2.c" >&2
	{
		cat "$1"
		(cd "$d" && echo "$2" | cpio -o -H newc -R 0:0 --quiet)
	} >"$3"
	rm -r "$d"
}
