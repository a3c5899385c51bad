#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Runs the benchmark guest under one or more emulators and natively, side by side.

bench.py [options] BENCH...       BENCH: a name or group of guest/benches.tab, "ram" or "all"

  --accel NAME                    a preset of presets.ini (may be given several times)
  --accel 'NAME=COMMAND'          or a command; placeholders {kernel} {initrd} {append} {disk} {smp} {tenon} {out}
                                  {here}. It has to copy the guest's COM1 to its standard output
  --no-native                     leave the native column out
  --reps N                        N rounds; runs alternate between all columns (default 1)
  --scale F                       multiplies every benchmark's work (default 1)
  --accel-scale NAME=F            another scale for one column (slow emulators)
  --copies K, --smp K             K instances at once, K virtual CPUs
  --wall                          ratios from the guest's own score (wall clock) instead of CPU seconds
  --base NAME                     the column that ratios refer to (default: native, else the first)
  --json FILE                     keep every measurement; --load FILE... only print from files
  --append STR                    extra kernel parameters; --timeout S: for a guest (default 1800)
  --kernel FILE                   another kernel; its guest has no disk
  --out DIR                       what mkguest made (default: $O/bench)

A cost is CPU seconds (or wall seconds) per unit of work, so columns may run at different scales; the seconds shown are
those for the base column's amount of work. CPU seconds are those of the emulator's processes between the two marker
lines of a benchmark; natively, of the workload. Check values are compared with the base column where the amount of
work was the same.
"""
import argparse
import configparser
import json
import os
import re
import selectors
import shlex
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.abspath(os.path.join(HERE, "../../.."))
TICK = os.sysconf("SC_CLK_TCK")
START = re.compile(r"BENCH (\S+) start")
END = re.compile(r"BENCH (\S+) end ([\d.]+) (\S+) (.*)")


def family(root):
    """{pid: (user, system)} ticks of a process, its descendants and everything in its session, with reaped children.
    (script(1), for one, starts a session of its own.)"""
    procs = {}
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{p}/stat") as f:
                t = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        # after the name: state ppid pgrp session ... utime stime cutime cstime
        procs[int(p)] = (int(t[1]), int(t[3]), int(t[11]) + int(t[13]), int(t[12]) + int(t[14]))
    mine = {p for p, t in procs.items() if p == root or t[1] == root}
    while True:
        more = {p for p, t in procs.items() if t[0] in mine} - mine
        if not more:
            return {p: procs[p][2:] for p in mine if p in procs}
        mine |= more


def cpu_of(root):
    times = family(root).values()
    return sum(u + s for u, s in times) / TICK


def end_family(proc):
    """Stop what was started here, and nothing else."""
    for sig, wait in ((signal.SIGTERM, 3), (signal.SIGKILL, 5)):
        for p in family(proc.pid):
            try:
                os.kill(p, sig)
            except ProcessLookupError:
                pass
        try:
            proc.wait(wait)
            return
        except subprocess.TimeoutExpired:
            pass


def command(template, native, append, opt):
    words = {"kernel": opt.kernel or f"{opt.out}/vmlinuz", "initrd": f"{opt.out}/initrd.gz", "disk": f"{opt.out}/disk.img",
             "append": append, "out": opt.out, "here": HERE, "smp": str(opt.smp), "tenon": opt.tenon}
    cmd = []
    # Split first, substitute after: {append} stays one argument. Natively it is several.
    for w in shlex.split(template):
        if native and w == "{append}":
            cmd += append.split()
        else:
            cmd.append(re.sub(r"\{(\w+)\}", lambda m: words.get(m[1], m[0]), w))
    return cmd


class Guest:
    """One run of the guest in one column: reads what it prints, with the times at which it does."""

    def __init__(self, column, cmd, log, emit):
        self.native = column == "native"
        self.column, self.log, self.emit = column, log, emit
        self.started, self.done = {}, False
        self.t0 = time.monotonic()
        self.proc = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     start_new_session=True)

    def complain(self, text):
        print(f"\nbench: {self.column}: {text}", file=sys.stderr)

    def line(self, text, now, cpu):
        print(f"[{now - self.t0:9.3f}] {text}", file=self.log, flush=True)
        if "BENCH-INIT" in text and not self.native:
            took = now - self.t0
            self.emit({"name": "boot", "guest": took, "wall": took, "cpu": cpu, "work": 1, "unit": "boot",
                       "score": 1 / took, "rc": 0, "check": "-"})
        elif m := START.search(text):
            self.started[m[1]] = (now, cpu)
        elif m := END.search(text):
            kv = dict(re.findall(r"(\w+)=(\S+)", m[4]))
            if not {"user", "sys", "work", "unit", "rc", "check"} <= kv.keys():
                self.complain(f"garbled line {text!r}")
                return
            then, cpu_then = self.started.get(m[1], (now, cpu))
            self.emit({"name": m[1], "guest": float(m[2]), "score": float(m[3]), "wall": now - then,
                       "cpu": float(kv["user"]) + float(kv["sys"]) if self.native else cpu - cpu_then,
                       "work": float(kv["work"]), "unit": kv["unit"], "rc": int(kv["rc"]), "check": kv["check"]})
            print(".", end="", file=sys.stderr, flush=True)
        elif "BENCH-DONE" in text:
            self.done = True
        elif "Kernel panic" in text:
            self.complain(text)
            self.done = True

    def run(self, timeout):
        out = self.proc.stdout
        os.set_blocking(out.fileno(), False)
        sel = selectors.DefaultSelector()
        sel.register(out, selectors.EVENT_READ)
        rest = b""
        while not self.done:
            if time.monotonic() - self.t0 > timeout:
                self.complain(f"stopped after {timeout:.0f} s")
                break
            if not sel.select(1):
                continue
            data = out.read(65536)
            now, cpu = time.monotonic(), cpu_of(self.proc.pid)
            if data == b"":
                self.complain(f"ended before it was done (log: {self.log.name})")
                break
            *lines, rest = (rest + (data or b"")).split(b"\n")
            for raw in lines:
                self.line(raw.decode("latin-1").strip("\r "), now, cpu)
        if self.done:
            try:
                self.proc.wait(5)       # it is about to power off
            except subprocess.TimeoutExpired:
                print("no power-off within 5 s", file=self.log)
        end_family(self.proc)


def notes_of(name, col, base, by, value):
    notes = []
    drift = value(name, col, lambda r: r["guest"] / r["wall"] if r["wall"] > 0.2 else 1)
    if abs(drift - 1) > 0.05:
        notes.append(f"{col}: guest clock / host clock {drift:.2f}")
    if (name, base) in by and col != base:
        same = [r["check"] for r in by[name, base] if r["work"] == by[name, col][0]["work"]]
        if same and by[name, col][0]["check"] != same[0]:
            notes.append(f"{col}: CHECK DIFFERS")
    return notes


def table(runs, cols, base, by_wall):
    order, by = [], {}
    for r in runs:
        if r["name"] not in order:
            order.append(r["name"])
        by.setdefault((r["name"], r["col"]), []).append(r)

    order.sort(key=lambda name: name != "boot")

    def value(name, col, f):
        return statistics.median(f(r) for r in by[name, col])

    def cost(r):
        return 1 / r["score"] if by_wall else r["cpu"] / r["work"]

    def cell(name, col, work):
        if (name, col) not in by:
            return "-"
        if all(r["rc"] == 0 for r in by[name, col]):
            return f"{value(name, col, cost) * work:.3f}"
        return "n/a" if by[name, col][0]["rc"] == 77 else "FAIL"

    def good(name, col):
        return (name, col) in by and all(r["rc"] == 0 for r in by[name, col])

    others = [c for c in cols if c != base]
    ratios = {c: [] for c in others}
    rows = [["workload", "work"] + [f"{c} s" for c in cols] + [f"{c}/{base}" for c in others] + ["notes"]]
    for n in order:
        ref = next(c for c in [base] + cols if (n, c) in by)
        work = statistics.median(r["work"] for r in by[n, ref])
        row = [n, f"{work:.4g} {by[n, ref][0]['unit']}"] + [cell(n, c, work) for c in cols]
        for c in others:
            if good(n, c) and good(n, base) and value(n, base, cost) > 0:
                x = value(n, c, cost) / value(n, base, cost)
                if x > 0 and n != "boot":
                    ratios[c].append(x)
                row.append(f"{x:.2f}")
            else:
                row.append("-")
        notes = sum((notes_of(n, c, base, by, value) for c in cols if good(n, c)), [])
        rows.append(row + ["; ".join(notes)])
    mean = [f"{statistics.geometric_mean(ratios[c]):.2f}" if ratios[c] else "-" for c in others]
    rows.append(["geometric mean", "without boot"] + [""] * len(cols) + mean + [""])

    width = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for k, r in enumerate(rows):
        cells = [x.ljust(w) if i in (0, 1, len(r) - 1) else x.rjust(w) for i, (x, w) in enumerate(zip(r, width))]
        print("| " + " | ".join(cells) + " |")
        if k == 0:
            print("|" + "|".join("-" * (w + 2) for w in width) + "|")


def measure(opt, cols):
    runs = []
    scales = {k: float(v) for k, v in (s.split("=") for s in opt.accel_scale)}
    os.makedirs(f"{opt.out}/log", exist_ok=True)
    log = open(f"{opt.out}/log/{time.strftime('%m%d-%H%M%S')}-{os.getpid()}.log", "w")
    for rep in range(opt.reps):
        for c, template in cols.items():
            def emit(r):
                runs.append(dict(r, col=c, rep=rep))
                if opt.json:            # after every benchmark, so that a stopped run keeps its results
                    with open(opt.json + ".new", "w") as f:
                        json.dump(runs, f, indent=0)
                    os.replace(opt.json + ".new", opt.json)

            print(f"{c} {rep + 1}/{opt.reps} ", end="", file=sys.stderr, flush=True)
            append = f"bench={','.join(opt.bench or ['ram'])} scale={scales.get(c, opt.scale)} copies={opt.copies} reps=1"
            if c != "native":
                append = f"console=ttyS0 quiet panic=-1 nokaslr {opt.append} {append}".replace("  ", " ")
            cmd = command(template, c == "native", append, opt)
            print("+", shlex.join(cmd), file=log, flush=True)
            try:
                Guest(c, cmd, log, emit).run(opt.timeout)
            except OSError as e:
                print(f"\nbench: {c}: cannot run {cmd[0]}: {e.strerror}", file=sys.stderr)
            print(file=sys.stderr)
    return runs


def main():
    build = os.path.join(TOP, os.environ.get("O", "build"))
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--accel", action="append", default=[])
    p.add_argument("--accel-scale", action="append", default=[])
    p.add_argument("--no-native", action="store_true")
    p.add_argument("--reps", type=int, default=1)
    p.add_argument("--scale", type=float, default=1)
    p.add_argument("--copies", type=int, default=1)
    p.add_argument("--smp", type=int, default=1)
    p.add_argument("--wall", action="store_true")
    p.add_argument("--base")
    p.add_argument("--json")
    p.add_argument("--load", nargs="+")
    p.add_argument("--append", default="")
    p.add_argument("--timeout", type=float, default=1800)
    p.add_argument("--kernel")
    p.add_argument("--out", default=os.path.join(build, "bench"))
    p.add_argument("bench", nargs="*")
    opt = p.parse_args()
    opt.out = os.path.abspath(opt.out)
    opt.tenon = os.environ.get("TENON_BIN", os.path.join(build, "tenon"))

    presets = configparser.ConfigParser(interpolation=None)
    presets.read(os.path.join(HERE, "presets.ini"))
    cols = {}
    if opt.load:
        runs = []
        for name in opt.load:
            with open(name) as f:
                runs += json.load(f)
        cols = dict.fromkeys(r["col"] for r in runs)
    else:
        if not opt.no_native:
            cols["native"] = "{here}/native {out} {append}"
        for x in opt.accel:
            if x in presets["accel"]:
                cols[x] = presets["accel"][x]
            elif m := re.match(r"([\w.+-]+)=(.*)", x, re.S):
                cols[m[1]] = m[2]
            else:
                sys.exit(f"bench: no such preset: {x} (presets.ini has {', '.join(presets['accel'])})")
        runs = measure(opt, cols)
    if not runs:
        sys.exit("bench: nothing was measured")
    table(runs, list(cols), opt.base or ("native" if "native" in cols else next(iter(cols))), opt.wall)


if __name__ == "__main__":
    main()
