#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Documentation against what it speaks of. Prints TAP. Oracles: the tree, the launcher's --help, launcher/vm.h.
#
#	TENON_BIN	the launcher (default: $O/tenon)
set -uo pipefail
shopt -s lastpipe nullglob
cd "$(dirname "$0")/../../.." || exit 1

tenon=${TENON_BIN:-${O:-build}/tenon}
texts=(README.md CONTRIBUTING.md Documentation/*.rst)
mans=(Documentation/man/*.1)
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

# --- files ---

# FILE:NAME of every file or directory of the tree that a text names: between quotes, or as Documentation/X.rst
# in prose. Placeholders (NAME, <arch>) and what is built are none.
named_files()
{
	local f

	for f in "${texts[@]}"; do
		[ ! -e "$f" ] || grep -oE '`[^` ]+`|Documentation/[a-z-]+\.rst' "$f" | tr -d '`' | sed "s,^,$f:,"
	done | grep -vE ':.*(NAME|[<>$]|^build/)' | sort -u
}

# Is there a file of the tree called $1, which may be a pattern?
exists()
{
	local p=${1%/}

	compgen -G "$p" >/dev/null || case $p in
	launcher/*|emul/*|uapi/*|scripts/*|tools/*|kmod/*|Documentation/*|.ci/*) return 1 ;;
	# from within a directory that the text is about
	*) [ -n "$(find . -path ./.git -prune -o -path "./${O:-build}" -prune -o -path "*/$p" -print -quit)" ] ;;
	esac
}

named_files | while IFS=: read -r text name; do
	# A directory that host-seam.rst describes as one that another host would need.
	[ "$name" != emul/host/portable/ ] || continue
	[[ $name =~ ^(launcher|emul|uapi|scripts|tools|kmod|Documentation|\.ci)/ || $name =~ ^[a-z][a-z0-9_/*-]*\.(c|h|\[ch\]|S|def|sh|bats|py|rst|tab|ini)$ ]] || continue
	exists "$name" || echo "$text: $name does not exist"
done | none "every file that is named exists"

# ``hostile.c`` (closed, passed): tests of the module by the names that their sources give them
grep -oE '``[a-z]+\.c`` \([a-z_, ]+\)' Documentation/threat-model.rst | tr -d '`(,)' | while read -r source names; do
	for name in $names; do
		grep -q "^TEST($name," "tools/testing/selftests/tenon/$source" || echo "threat-model.rst: no test $name in $source"
	done
done | none "every test of the module that is named exists"

# --- links ---

# Anchor of a Markdown heading as repositories on the web make it.
anchors()
{
	sed -n 's/^##* *//p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

for f in "${texts[@]}"; do
	[ -e "$f" ] || continue
	case $f in
	*.md) grep -oE '\]\([^)]+\)' "$f" | sed 's/^](//; s/)$//' ;;
	*.rst) grep -oE '`[^`<]+<[^>]+>`_' "$f" | sed 's/.*<//; s/>.*//' ;;
	esac | while read -r link; do
		[[ $link != *://* ]] || continue
		to=${link%%#*} anchor=
		[[ $link != *#* ]] || anchor=${link#*#}
		to=${to:+$(dirname "$f")/$to}
		to=${to:-$f}
		[ -e "$to" ] || { echo "$f: link to $to, which does not exist"; continue; }
		[ -z "$anchor" ] || anchors "$to" | grep -qxF -- "$anchor" || echo "$f: no heading for $link"
	done
done | none "every link within the tree resolves"

for f in Documentation/*.rst Documentation/man/*.1; do
	[ "$f" = Documentation/index.rst ] || grep -qF "<${f#Documentation/}>" Documentation/index.rst || echo "$f"
done | none "Documentation/index.rst links every page"

# --- options ---

if ! help=$("$tenon" run --help) || ! "$tenon" --help >/dev/null; then
	echo "$tenon run --help fails: build it first (make), or name it (TENON_BIN)" | none "the launcher runs"
	help=
fi
long=$(grep -oE -- '(^|[ ,])--[a-z][a-z-]*' <<<"${help%%Examples:*}" | tr -d ' ,' | sort -u)
short=$(grep -oE -- '^ +-[a-z],' <<<"$help" | tr -d ' ,' | sort -u)

known()
{
	grep -qxF -e "$1" <<<"$long"$'\n'"$short"
}

# The command lines of `tenon run` in a text, without what is quoted and what is behind a pipe or redirection.
run_lines()
{
	grep -oE '(^|[ /|`])tenon run( .*)?$' "$1" | sed -E "s/\"[^\"]*\"//g; s/\`.*//; s/^.*tenon run//; s/[|<>#].*//; s/ -- .*//"
}

for f in "${texts[@]}"; do
	[ -e "$f" ] || continue
	{
		run_lines "$f" | grep -oE -- '(^| )--?[a-z][a-z-]*' | tr -d ' '
		# Options named in prose, where pages speak of nothing else.
		case $f in
		README.md|*/usage.rst|*/troubleshooting.rst)
			grep -oE '`--[a-z][a-z-]*' "$f" | tr -d '`' ;;
		esac
	} | sort -u | while read -r o; do
		known "$o" || [ "$o" = --help ] || echo "$f: tenon run has no option $o"
	done
done | none "options in the texts are options of tenon run"

# unroff FILE: a manual page without its escapes
unroff()
{
	sed 's/\\-/-/g; s/\\f[A-Z]//g' "$1"
}

page=Documentation/man/tenon-run.1
img_help=$(for c in "" create info check convert resize commit snapshot map; do "$tenon" img $c --help; done 2>/dev/null)
{
	for m in "${mans[@]}"; do
		unroff "$m" | grep -oE -- '(^|[ "(])--[a-z][a-z-]*' | tr -d ' "(' | sort -u | while read -r o; do
			case $m in
			*/tenon-img.1) grep -qF -e "$o" <<<"$img_help" || echo "$m: tenon img has no option $o" ;;
			*) known "$o" || echo "$m: tenon run has no option $o" ;;
			esac
		done
	done
	unroff $page | grep '^\.B' >/dev/null || echo "$page has no options"
	for o in $long $short; do
		unroff $page | grep -A 1 '^\.TP' | grep -qE -- "(^|[ \"])$o([ \",]|\$)" || echo "$page: $o is not described"
	done
} | none "the manual pages have the options of --help, all and no others"

for o in $long; do
	"$tenon" run "$o" </dev/null 2>&1 | grep -F "there is no option" | sed "s/^/$o: /"
done | none "the launcher accepts the options that its help names"

# --- exit statuses ---

# Those of enum vm_end that are numbers of their own; VM_END_SIGNAL is a base, VM_END_DEBUG_EXIT internal.
want=$(sed -n 's/^\tVM_END_[A-Z_]* = \([0-9]*\),.*/\1/p' launcher/vm.h | awk '$1 < 1000' | sed 's/^128$/128+N/')
[ "$(wc -w <<<"$want")" -ge 5 ] || echo "found: $want" | none "launcher/vm.h has exit statuses"
# same WHAT: standard input has the statuses that it names
same()
{
	local have

	have=$(grep -vxE 'other' | sort -u)
	[ "$have" = "$(sort -u <<<"$want")" ] || echo "$1:" $have "and launcher/vm.h:" $want
}
{
	sed -n '/^## Exit status/,/^## D/s/^| \([^ ]*\) | .*/\1/p' README.md | grep -E '^[0-9o]' | same README.md
	sed -n '/^Exit status$/,/^Signals$/s/^\([0-9o][^ ]*\)  .*/\1/p' Documentation/usage.rst | grep -E '^([0-9]|other)' |
		same Documentation/usage.rst
	sed -n '/^Exit status:/,/^$/s/^  \([0-9o][^ ]*\) .*/\1/p' <<<"$help" | same "tenon run --help"
	unroff $page | sed -n '/^\.SH EXIT STATUS/,/^\.SH EX/p' | sed -nE 's/^\.B ([0-9]+)$/\1/p; s/^\.BI (128\+).*/\1N/p' | same $page
} | none "exit statuses are those of launcher/vm.h"

# --- manual pages, prose ---

if command -v man >/dev/null; then
	for m in "${mans[@]}"; do
		man --warnings -E UTF-8 -l "$m" 2>&1 >/dev/null | sed "s,^,$m: ,"
	done | none "man has no warnings"
else
	n=$((n + 1))
	echo "ok $n - man has no warnings # SKIP man is not installed"
fi

grep -nE '(^|[^.[:alnum:]])/(home|root|work)/|[.][.]/shared|([0-9]{1,3}\.){3}[0-9]{1,3}' "${texts[@]}" "${mans[@]}" \
	Documentation/*.svg 2>/dev/null |
	# the user network's own addresses, and those that every machine has
	grep -vE '10\.0\.[2-7]\.[0-9]+|127\.0\.0\.1|0\.0\.0\.0' | none "no text names files or addresses of a particular machine"

grep -nE '[[:space:]]$|.{131}' "${texts[@]}" 2>/dev/null | grep -vE '^README.md:[0-9]+:(    |!)' |
	none "no line ends in spaces or is longer than 130 columns"

echo "1..$n"
[ $failed = 0 ]
