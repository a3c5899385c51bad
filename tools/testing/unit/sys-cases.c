// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-cases.c - some hundreds of small guests against the manual, and against QEMU and Bochs
 *
 * Oracle: SDM, the section that each case of guest-cases-*.S names, with what must come of it written beside it.
 * Where qemu-system-x86_64 and bochs are installed, they run the same image: a case that differs there, and is not
 * marked with the reason, fails as well, since then somebody has misread the manual.
 *
 * Usage: sys-cases [part of a title], to see what the three do
 */
#include <stdlib.h>
#include <unistd.h>

#include "../../../emul/base.h"
#include "../../../emul/include/tenon/emul.h"
#include <sys/mman.h>
#include "tap.h"

/* guest-cases.S */
#define NOT_QEMU	1
#define NOT_BOCHS	2
struct guest_case {
	const char *want, *title;
	u64 not;
};
extern const u8 guest_cases_fw[], guest_cases_end[], guest_cases_skip[];
extern const struct guest_case guest_cases[];

#define FW_SIZE		0x10000
#define RAM_SIZE	0xf0000
#define MAX_CASES	2000

static u8 *ram, *rom;

/* What a machine wrote: a line of eight numbers a case. */
struct result {
	u32 vector, error, rip, cs, flags, eax, cr2, dr6;
};
struct machine {
	const char *name;
	unsigned int nr;
	struct result r[MAX_CASES];
};

static unsigned int parse(struct machine *m, const char *text)
{
	for (m->nr = 0; m->nr < MAX_CASES; m->nr++) {
		struct result *r = &m->r[m->nr];

		if (sscanf(text, "%x %x %x %x %x %x %x %x", &r->vector, &r->error, &r->rip, &r->cs, &r->flags,
			   &r->eax, &r->cr2, &r->dr6) != 8)
			break;
		text = strchr(text, '\n');
		if (!text++)
			break;
	}
	return m->nr;
}

static bool has_error(u32 vector)
{
	return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* As the wants are written; of where it was, and of EAX, only if @want has it. Real mode has no error codes. */
static void describe(const struct result *r, const struct guest_case *c, char *buf, size_t len)
{
	int n = snprintf(buf, len, "%02x", r->vector);

	if (has_error(r->vector) && strncmp(c->title, "R16", 3))
		n += snprintf(buf + n, len - n, ":%04x", r->error);
	if (r->vector == 14)
		n += snprintf(buf + n, len - n, "@%08x", r->cr2);
	if (r->vector == 1)
		n += snprintf(buf + n, len - n, "!%04x", r->dr6 & 0xffff);
	if (strchr(c->want, '+'))
		n += snprintf(buf + n, len - n, "+%08x", r->rip);
	if (r->vector == 0x30 || strchr(c->want, '='))
		snprintf(buf + n, len - n, "=%08x", r->eax);
}

/* --- here --- */

static char out[MAX_CASES * 80];
static unsigned int out_len;

static void g_access(void *o, struct emul_vcpu *v, enum emul_space space, uint64_t addr, void *data, unsigned int len,
		     bool write)
{
	(void)o;
	if (!write)
		memset(data, 0xff, len);
	else if (space == EMUL_PIO && addr == 0x3f8 && out_len < sizeof(out) - 1)
		out[out_len++] = *(char *)data;
	else if (space == EMUL_PIO && addr == 0xf4)
		emul_kick(v);
}
static int g_ack(void *o, struct emul_vcpu *v) { (void)o, (void)v; return -1; }
static bool g_pending(void *o, struct emul_vcpu *v) { (void)o, (void)v; return false; }
static uint8_t g_tpr(void *o, struct emul_vcpu *v) { (void)o, (void)v; return 0; }
static void g_set_tpr(void *o, struct emul_vcpu *v, uint8_t t) { (void)o, (void)v, (void)t; }
static bool g_msr(void *o, struct emul_vcpu *v, uint32_t m, uint64_t *x)
{
	(void)o, (void)v, (void)m;
	*x = 0;
	return false;
}
static bool g_wrmsr(void *o, struct emul_vcpu *v, uint32_t m, uint64_t x)
{
	(void)o, (void)v, (void)m, (void)x;
	return false;
}
static uint64_t g_tsc(void *o, struct emul_vcpu *v) { (void)o, (void)v; return 0; }

static const struct emul_ops ops = {
	.access = g_access, .intr_ack = g_ack, .intr_pending = g_pending, .tpr_get = g_tpr, .tpr_set = g_set_tpr,
	.msr_read = g_msr, .msr_write = g_wrmsr, .tsc = g_tsc,
};

/* @jit: translated at once, so that every case runs as translated code where there is a translator for its mode. */
static void run_here(struct machine *m, enum emul_jit jit)
{
	struct emul_config cfg = { .max_vcpus = 1, .tsc_hz = 1000000000, .jit = jit };
	struct emul_exit exit = { .reason = EMUL_EXIT_ERROR };
	struct emul_vm *vm;
	struct emul_vcpu *v;
	char err[200];

	memset(ram, 0, RAM_SIZE);
	out_len = 0;
	vm = emul_vm_create(&cfg, &ops, NULL, err, sizeof(err));
	v = vm ? emul_vcpu_create(vm, 0, NULL) : NULL;
	if (v && !emul_mem_add(vm, 0, RAM_SIZE, ram, 0) &&
	    !emul_mem_add(vm, 0xf0000, FW_SIZE, rom, EMUL_MEM_READONLY) &&
	    !emul_mem_add(vm, 0xffff0000, FW_SIZE, rom, EMUL_MEM_READONLY))
		emul_run(v, &exit);
	out[out_len] = 0;
	if (exit.reason != EMUL_EXIT_KICK) {
		u32 at;

		memcpy(&at, ram + 0x38000, 4);
		diag("%s: case %u, %s: %s", m->name, at, guest_cases[at].title, exit.msg ? exit.msg : "no end");
	}
	if (vm)
		emul_vm_destroy(vm);
	parse(m, out);
}

/* --- elsewhere --- */

static bool run_command(struct machine *m, const char *dir, const char *cmd)
{
	char path[100];
	size_t n;
	FILE *f;

	if (system(cmd) < 0)
		return false;
	snprintf(path, sizeof(path), "%s/%s.out", dir, m->name);
	f = fopen(path, "r");
	n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;
	if (f)
		fclose(f);
	out[n] = 0;
	return parse(m, out);
}

static bool write_file(const char *dir, const char *name, const void *data, size_t len)
{
	char path[100];
	FILE *f;
	bool good;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	good = f && fwrite(data, 1, len, f) == len;
	return f && !fclose(f) && good;
}

/* The image without what a machine can't do. */
static bool write_image(const char *dir, u8 skip)
{
	rom[guest_cases_skip - guest_cases_fw] = skip;
	return write_file(dir, "fw", rom, FW_SIZE);
}

static bool run_qemu(struct machine *m, const char *dir)
{
	char cmd[600];

	if (!write_image(dir, NOT_QEMU))
		return false;

	snprintf(cmd, sizeof(cmd),
		 "timeout 60 qemu-system-x86_64 -accel tcg -cpu max,vendor=GenuineIntel -m 16 -display none -nodefaults -no-reboot "
		 "-bios %s/fw -serial file:%s/%s.out -device isa-debug-exit,iobase=0xf4 </dev/null >/dev/null 2>&1",
		 dir, dir, m->name);
	return run_command(m, dir, cmd);
}

static bool run_bochs(struct machine *m, const char *dir)
{
	char rc[1000], cmd[400];
	int n = snprintf(rc, sizeof(rc),
			 "display_library: term\nromimage: file=%s/fw, address=0xffff0000\n"
			 "cpu: model=corei7_skylake_x, ips=50000000, reset_on_triple_fault=0\nmegs: 16\n"
			 "com1: enabled=1, mode=file, dev=%s/%s.out\nlog: %s/log\npanic: action=fatal\n"
			 "error: action=ignore\ninfo: action=ignore\ndebug: action=ignore\n",
			 dir, dir, m->name, dir);

	if (!write_image(dir, NOT_BOCHS) || !write_file(dir, "bochsrc", rc, (size_t)n) || !write_file(dir, "go", "c\n", 2))
		return false;
	/* its only display without a window wants a terminal, its debugger a command, and no end of its input before its own */
	snprintf(cmd, sizeof(cmd),
		 "mkfifo %s/in; TERM=vt100 timeout 100 script -qec 'bochs -q -f %s/bochsrc -rc %s/go' /dev/null <>%s/in >/dev/null 2>&1",
		 dir, dir, dir, dir);
	return run_command(m, dir, cmd);
}

/* --- comparing --- */

static void compare(const struct machine *m, unsigned int count, u64 not)
{
	char got[60];

	if (!ok(m->nr == count, "%s: the image comes to its end", m->name))
		return;
	for (unsigned int i = 0; i < count; i++) {
		const struct guest_case *c = &guest_cases[i];

		if (c->not & not)
			continue;
		describe(&m->r[i], c, got, sizeof(got));
		if (!ok(!strcmp(got, c->want), "%s: %s", m->name, c->title))
			diag("case %u: want %s, got %s", i, c->want, got);
	}
}

static void show(const struct machine *const *m, unsigned int count, const char *title)
{
	char got[60];

	for (unsigned int i = 0; i < count; i++) {
		if (!strstr(guest_cases[i].title, title))
			continue;
		printf("# %u %s: want %s\n", i, guest_cases[i].title, guest_cases[i].want);
		for (unsigned int k = 0; k < 3; k++)
			if (i < m[k]->nr) {
				describe(&m[k]->r[i], &guest_cases[i], got, sizeof(got));
				printf("#   %-6s %s  cs:rip %x:%x flags %x\n", m[k]->name, got, m[k]->r[i].cs,
				       m[k]->r[i].rip, m[k]->r[i].flags);
			}
	}
}

int main(int argc, char **argv)
{
	static const u8 reset[] = { 0xea, 0x00, 0x00, 0x00, 0xf0 };
	static struct machine tenon = { .name = "tenon" }, stress = { .name = "jit" }, qemu = { .name = "qemu" },
			      bochs = { .name = "bochs" };
	size_t size = (size_t)(guest_cases_end - guest_cases_fw);
	char dir[] = "/tmp/sys-cases.XXXXXX", cmd[100];
	unsigned int count = 0;
	bool have_qemu = !system("command -v qemu-system-x86_64 >/dev/null 2>&1");
	bool have_bochs = !system("command -v bochs >/dev/null && command -v script >/dev/null");

	while (guest_cases[count].want)
		count++;
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	rom = mmap(NULL, FW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (size > 0xfff0 || count > MAX_CASES || ram == MAP_FAILED || rom == MAP_FAILED || !mkdtemp(dir)) {
		printf("Bail out! %zu bytes, %u cases\n", size, count);
		return 1;
	}
	memcpy(rom, guest_cases_fw, size);
	memcpy(rom + 0xfff0, reset, sizeof(reset));
	run_here(&tenon, EMUL_JIT_OFF);
	compare(&tenon, count, 0);
	run_here(&stress, EMUL_JIT_STRESS);
	compare(&stress, count, 0);
	if (!have_qemu)
		skip("the same under QEMU", "qemu-system-x86_64 is not installed");
	else if (ok(run_qemu(&qemu, dir), "QEMU runs the image"))
		compare(&qemu, count, NOT_QEMU);
	if (!have_bochs)
		skip("the same under Bochs", "bochs or script is not installed");
	else if (ok(run_bochs(&bochs, dir), "Bochs runs the image"))
		compare(&bochs, count, NOT_BOCHS);
	if (argc > 1)
		show((const struct machine *const[]){ &tenon, &qemu, &bochs }, count, argv[1]);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		diag("%s is left behind", dir);
	return tap_done();
}
