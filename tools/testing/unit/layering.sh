#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Who may include whom (Documentation/tour.rst). Prints TAP. The oracle is the text of the sources.
set -uo pipefail
shopt -s lastpipe nullglob
cd "$(dirname "$0")/../../.." || exit 1

n=0 failed=0

# none DESCRIPTION: what comes in are violations
none()
{
	local found

	found=$(cat)
	n=$((n + 1))
	if [ -n "$found" ]; then
		failed=$((failed + 1))
		echo "not ok $n - $1"
		head -n 20 <<<"$found" | sed 's/^/# /'
	else
		echo "ok $n - $1"
	fi
}

# Every include of the tree, FILE:LINE:included file, relative to the top unless it is the system's.
tree_includes()
{
	find emul kmod launcher uapi -type f \( -name '*.[chS]' -o -name '*.def' \) | sort | awk '
	{ have[$0] = 1; file[NR] = $0 }
	# a/b/../c is a/c
	function plain(path,	part, n, i, out, k)
	{
		n = split(path, part, "/")
		for (i = 1; i <= n; i++) {
			if (part[i] == ".." && k && out[k] != "..")
				k--
			else if (part[i] != "." && part[i] != "")
				out[++k] = part[i]
		}
		path = out[1]
		for (i = 2; i <= k; i++)
			path = path "/" out[i]
		return path
	}
	END {
		for (i = 1; i <= NR; i++) {
			dir = file[i]
			sub(/[^\/]*$/, "", dir)
			for (n = 1; (getline line <file[i]) > 0; n++) {
				if (line !~ /^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]/)
					continue
				match(line, /["<][^">]+/)
				quoted = substr(line, RSTART, 1) == "\""
				path = substr(line, RSTART + 1, RLENGTH - 1)
				near = plain(dir path)
				if (quoted && near in have)
					path = near
				else if (!quoted && ("emul/include/" path) in have)
					path = "emul/include/" path
				else if (!quoted && ("uapi/" path) in have)
					path = "uapi/" path
				print file[i] ":" n ":" path
			}
			close(file[i])
		}
	}'
}
all_includes=$(tree_includes)

# Those of the sources below DIR...
includes()
{
	local dir

	for dir; do
		grep "^$dir/" <<<"$all_includes"
	done
}

includes emul | grep -E ':(kmod|launcher|uapi)/' | none "emul includes neither kmod nor launcher nor uapi"
includes launcher | grep -E ':kmod/' | none "launcher does not include kmod"
includes kmod | grep -E ':launcher/' | none "kmod does not include launcher"
includes kmod | grep -E ':emul/' | grep -vE ':emul/(base\.h|irqchip/|guest/x86/(decode|names))' |
	none "kmod includes of emul only the chips and the decoder"
includes launcher | grep -E ':emul/' | grep -v ':emul/include/' |
	grep -vE '^launcher/accel-[^:]*:|^(launcher/soft-[^:]*|launcher/devices/hpet\.c):[0-9]+:emul/irqchip/' |
	none "launcher includes emul through emul/include, but for the back ends (accel-*) and their chips (soft-*, devices/hpet.c)"
includes emul/core launcher/devices launcher/virtio launcher/block | grep -E ':emul/guest/' |
	none "emul/core and the devices do not include a guest architecture"
includes emul/irqchip | grep -vE ':emul/(base\.h|irqchip/)' | none "the chips include base.h and one another"

# Comments may name registers (a device's documentation does); code may not.
uncommented()
{
	local f

	# One run of the preprocessor; the marks tell the files apart.
	for f; do
		printf '\nFILE_IS %s\n' "$f"
		cat "$f"
	done | ${CC:-gcc} -fpreprocessed -dD -E -P -x c - 2>/dev/null |
		awk '$1 == "FILE_IS" { file = $2 } $1 != "FILE_IS" && !/^#/ { print file ": " $0 }'
}
uncommented emul/core/*.[ch] launcher/{devices,virtio,block}/*.[ch] |
	grep -iwE '(r|e)(ax|bx|cx|dx|si|di|sp|bp|ip|flags)|cr[0-48]|xmm[0-9]+|[cdefgs]s_base|struct x86_\w+' |
	none "emul/core and the devices name no x86 register"

uncommented emul/guest/*/*.[ch] launcher/*.[ch] launcher/*/*.[ch] | grep -E 'pthread_create' |
	grep -v '^launcher/' | none "threads are the embedder's"

tree()
{
	find . \( -path ./.git -o -path ./build -o -path "./${O:-build}" \) -prune -o -type f "$@" -print | sort
}

tree ! -path ./tools/testing/unit/layering.sh | xargs -r -d '\n' grep -InE '\.\./shared|/work/(main|shared)' |
	none "nothing refers to files outside the tree"

tree \( -name '*.[chS]' -o -name '*.def' -o -name '*.sh' -o -name '*.bash' -o -name '*.bats' -o -name '*.py' \
	-o -path './scripts/*' -o -path './.ci/*' \) | xargs -r -d '\n' awk '
	FNR == 1 { seen[FILENAME] = 0 }
	FNR <= 3 && /SPDX-License-Identifier: / { seen[FILENAME] = 1 }
	FNR > 3 { nextfile }
	END { for (f in seen) if (!seen[f]) print f }' | none "every source names its license"

echo "1..$n"
[ $failed = 0 ]
