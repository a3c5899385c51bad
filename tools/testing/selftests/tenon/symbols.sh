#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# symbols.sh TENON.KO-6.1 TENON.KO-6.12 [KERNELS.RST]: the kernel's symbols that the module uses, as the table of
# Documentation/kernels.rst; with that file, differences between the two, and a status.
set -euo pipefail
export LC_ALL=C
old=${1:?tenon.ko for 6.1} new=${2:?tenon.ko for 6.12} rst=${3-}

used()
{
	nm -u "$1" | awk '{ print $2 }' | sort
}

table()
{
	join -a 1 -a 2 -e '\-' -o 0,1.2,2.2 <(used "$old" | sed 's/$/ x/') <(used "$new" | sed 's/$/ x/') |
		awk '{ printf "%-42s %-5s %s\n", "``" $1 "``", $2, $3 }'
}

if [ -z "$rst" ]; then
	table
else
	diff <(grep -E '^``\w+`` +(x|\\-) +(x|\\-)$' "$rst") <(table)
fi
