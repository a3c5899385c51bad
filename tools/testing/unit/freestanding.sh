#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# The chips and the decoder are built into the module, too: they compile without a C library, call nothing but memset(),
# memcpy(), memmove() and memcmp(), use no more than 256 bytes of stack a function and no floating point, and do not
# recurse; the decoder's tables hold no function pointers. Prints TAP. Oracles: the compiler and binutils.
set -uo pipefail
cd "$(dirname "$0")/../../.." || exit 1

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0 failed=0

result()
{
	n=$((n + 1))
	if [ -s "$tmp/why" ]; then
		failed=$((failed + 1))
		echo "not ok $n - $1"
		head -n 20 "$tmp/why" | sed 's/^/# /'
	else
		echo "ok $n - $1"
	fi
	: >"$tmp/why"
}

: >"$tmp/why"
shopt -s nullglob
files=(emul/irqchip/*.c emul/guest/x86/decode*.c emul/guest/x86/names*.c)
flags=(-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-strict-aliasing -mgeneral-regs-only
	-Wframe-larger-than=256 -Wvla -fno-stack-protector -fno-jump-tables -D_GNU_SOURCE)

# recursion OBJECT: prints a cycle of the call graph, as the disassembly and its relocations show it
recursion()
{
	objdump -dr --no-show-raw-insn "$1" | awk '
		/^[0-9a-f]+ <.*>:$/ { fn = $2; gsub(/[<>:]/, "", fn) }
		/R_X86_64_(PLT32|PC32)/ { t = $3; sub(/[-+]0x[0-9a-f]+$/, "", t); called(t) }
		/\t(call|jmp) +[0-9a-f]+ </ { t = $NF; gsub(/[<>]/, "", t); if (t !~ /\+/ && (t != fn || /call/)) called(t) }
		function called(t) { if (t !~ /^\./) edge[fn] = edge[fn] " " t }
		function walk(f, path,   n, i, to) {
			if (state[f] == 2) return
			if (state[f] == 1) { print "recursion:" path " " f; return }
			state[f] = 1
			n = split(edge[f], to, " ")
			for (i = 1; i <= n; i++) walk(to[i], path " " f)
			state[f] = 2
		}
		END { for (f in edge) walk(f, "") }'
}

# The objects of one user (the chips, the decoder) may call one another.
declare -A object
for f in "${files[@]}"; do
	o=$tmp/$(basename "$f" .c).o
	if ! ${CC:-gcc} "${flags[@]}" -c -o "$o" "$f" 2>"$tmp/why"; then
		:
	elif [ "$(grep -cE '^#[[:space:]]*include[[:space:]]*<' "$f")" != 0 ]; then
		grep -nE '^#[[:space:]]*include[[:space:]]*<' "$f" | sed "s,^,$f:," >"$tmp/why"
		echo "only base.h includes what is not Tenon's" >>"$tmp/why"
	else
		: >"$tmp/why"
		object[$f]=$o
	fi
	result "$f compiles freestanding, 256 bytes of stack at most"
done

for dir in emul/irqchip emul/guest/x86; do
	objects=()
	for f in "${files[@]}"; do
		[ "$(dirname "$f")" = $dir ] && [ -n "${object[$f]-}" ] && objects+=("${object[$f]}")
	done
	if [ ${#objects[@]} -gt 0 ]; then
		ld -r -o "$tmp/all.o" "${objects[@]}" 2>"$tmp/why"
		nm -u "$tmp/all.o" | grep -vE ' U (memset|memcpy|memmove|memcmp)$' >>"$tmp/why"
	else
		echo "nothing compiled" >"$tmp/why"
	fi
	result "$dir: calls nothing from outside"
	[ ! -e "$tmp/all.o" ] || recursion "$tmp/all.o" | head -n 5 >"$tmp/why"
	result "$dir: no recursion"
	if [ $dir = emul/guest/x86 ] && [ -e "$tmp/all.o" ]; then
		# Without jump tables, only a function pointer makes data refer to code.
		nm "$tmp/all.o" | awk '$2 ~ /^[tT]$/ { print $3 }' >"$tmp/functions"
		readelf -rW "$tmp/all.o" | awk -v functions="$tmp/functions" '
			BEGIN { while ((getline f <functions) > 0) fn[f] = 1; fn[".text"] = 1 }
			/^Relocation section/ { s = $3 }
			s !~ /text|eh_frame|debug/ && $5 in fn { print s, $5 }' >"$tmp/why"
		result "$dir: no function pointers in tables"
	fi
	rm -f "$tmp/all.o"
done

echo "1..$n"
[ $failed = 0 ]
