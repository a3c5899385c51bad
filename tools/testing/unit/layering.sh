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

# includes DIR...: FILE:LINE:included file, relative to the top unless it is the system's
includes()
{
	local f line what path

	find "$@" -type f \( -name '*.[chS]' -o -name '*.def' \) 2>/dev/null | sort | while read -r f; do
		grep -noE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<][^">]+[">]' "$f" | while IFS=: read -r line what; do
			path=${what#*[\"<]}
			path=${path%[\">]}
			if [[ $what == *\"* ]]; then
				if [ -e "$(dirname "$f")/$path" ]; then
					path=$(realpath -m --relative-to=. "$(dirname "$f")/$path")
				fi
			elif [ -e "emul/include/$path" ]; then
				path=emul/include/$path
			elif [ -e "uapi/$path" ]; then
				path=uapi/$path
			fi
			echo "$f:$line:$path"
		done
	done
}

includes emul | grep -E ':(kmod|launcher|uapi)/' | none "emul includes neither kmod nor launcher nor uapi"
includes launcher | grep -E ':kmod/' | none "launcher does not include kmod"
includes kmod | grep -E ':launcher/' | none "kmod does not include launcher"
includes kmod | grep -E ':emul/' | grep -vE ':emul/(base\.h|irqchip/|guest/x86/(decode|names))' |
	none "kmod includes of emul only the chips and the decoder"
includes launcher | grep -E ':emul/' | grep -v ':emul/include/' |
	grep -vE '^launcher/accel-[^:]*:|^launcher/soft-[^:]*:[0-9]+:emul/irqchip/' |
	none "launcher includes emul through emul/include, but for the back ends (accel-*) and their chips (soft-*)"
includes emul/core launcher/devices launcher/virtio launcher/block | grep -E ':emul/guest/' |
	none "emul/core and the devices do not include a guest architecture"
includes emul/irqchip | grep -vE ':emul/(base\.h|irqchip/)' | none "the chips include base.h and one another"

# Comments may name registers (a device's documentation does); code may not.
uncommented()
{
	local f

	for f; do
		${CC:-gcc} -fpreprocessed -dD -E -P "$f" 2>/dev/null | grep -v '^#' | sed "s,^,$f: ,"
	done
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
	-o -path './scripts/*' -o -path './.ci/*' \) | while read -r f; do
	[ ! -s "$f" ] || head -n 3 "$f" | grep -q 'SPDX-License-Identifier: ' || echo "$f"
done | none "every source names its license"

echo "1..$n"
[ $failed = 0 ]
