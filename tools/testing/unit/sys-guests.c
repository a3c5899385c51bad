// SPDX-License-Identifier: GPL-2.0-only
/*
 * sys-guests - small guests of the project's own, from the reset vector or a boot sector on, through emul.h
 * alone
 *
 * The first is a firmware of 64 KiB that goes through real, protected, virtual-8086, compatibility and 64-bit
 * mode and tries what each section of the manual named beside it forbids; its handlers write vector and error
 * code to port E9H. The second is a boot sector that behaves like DOS: it hooks INT 21H and runs a COM
 * program.
 *
 * Oracle: SDM vol. 3, the section named beside each case; what the guests must write is written out below.
 * Where QEMU is installed, it runs the same firmware and must write the same.
 */
#include <errno.h>
#include <unistd.h>

#include "../../../emul/include/tenon/emul.h"
#include "guest-fw.h"
#include "tap.h"

#define RAM_SIZE	(2u << 20)

static char out[4096];
static unsigned int out_len;
static uint8_t *ram, *rom;

static void g_access(void *o, struct emul_vcpu *v, enum emul_space space, uint64_t addr, void *data,
		     unsigned int len, bool write)
{
	(void)o;
	if (!write) {
		memset(data, 0xff, len);
		return;
	}
	if (space != EMUL_PIO)
		return;
	if (addr == 0xe9 && out_len < sizeof(out) - 1)
		out[out_len++] = *(char *)data;
	if (addr == 0xf4)
		emul_kick(v);
}
static int g_ack(void *o, struct emul_vcpu *v) { (void)o; (void)v; return -1; }
static bool g_pending(void *o, struct emul_vcpu *v) { (void)o; (void)v; return false; }
static uint8_t g_tpr(void *o, struct emul_vcpu *v) { (void)o; (void)v; return 0; }
static void g_set_tpr(void *o, struct emul_vcpu *v, uint8_t t) { (void)o; (void)v; (void)t;
}

static bool g_rdmsr(void *o, struct emul_vcpu *v, uint32_t m, uint64_t *x)
{
	(void)o;
	(void)v;
	(void)m;
	*x = 0;
	return false;
}

static bool g_wrmsr(void *o, struct emul_vcpu *v, uint32_t m, uint64_t x)
{
	(void)o;
	(void)v;
	(void)m;
	(void)x;
	return false;
}
static uint64_t g_tsc(void *o, struct emul_vcpu *v) { (void)o; (void)v; return 0; }

static const struct emul_ops ops = {
	.access = g_access,
	.intr_ack = g_ack,
	.intr_pending = g_pending,
	.tpr_get = g_tpr,
	.tpr_set = g_set_tpr,
	.msr_read = g_rdmsr,
	.msr_write = g_wrmsr,
	.tsc = g_tsc,
};

/* Run a machine with the firmware as ROM, and @sector (or NULL) at 7C00H with the vCPU started there. */
static enum emul_exit_reason run(const uint8_t *sector)
{
	struct emul_config cfg = { .max_vcpus = 1, .tsc_hz = 1000000000 };
	struct emul_exit exit = { .reason = EMUL_EXIT_ERROR };
	char err[200];
	struct emul_vm *vm = emul_vm_create(&cfg, &ops, NULL, err, sizeof(err));
	struct emul_vcpu *v;

	out_len = 0;
	memset(ram, 0, RAM_SIZE);
	memcpy(rom, guest_fw, GUEST_FW_SIZE);
	if (!vm)
		return EMUL_EXIT_ERROR;
	if (sector) {	/* as a BIOS would, by a jump in the reset vector */
		static const uint8_t jump[] = { 0xea, 0x00, 0x7c, 0, 0 };

		memcpy(ram + 0x7c00, sector, 512);
		memcpy(rom + 0xfff0, jump, sizeof(jump));
	}
	v = emul_vcpu_create(vm, 0, NULL);
	if (v && !emul_mem_add(vm, 0, 0xf0000, ram, 0) &&
	    !emul_mem_add(vm, 0xf0000, GUEST_FW_SIZE, rom, EMUL_MEM_READONLY) &&
	    !emul_mem_add(vm, 0x100000, RAM_SIZE - 0x100000, ram + 0x100000, 0) &&
	    !emul_mem_add(vm, 0xffff0000, GUEST_FW_SIZE, rom, EMUL_MEM_READONLY))
		emul_run(v, &exit);
	out[out_len] = 0;
	if (exit.reason == EMUL_EXIT_SHUTDOWN)
		diag("%s", exit.msg);
	emul_vm_destroy(vm);
	return exit.reason;
}

/* The lines that the firmware writes: "name vector error", or what it has to say otherwise. */
#define ALL	false
/*
 * QEMU's translator does not check limits and types of segments in use, raises #GP where #SS is due, and lets
 * impossible values into CR0, CR4 and MSRs: what would stop it there is left out.
 */
#define LOOSE	true
static const struct want { const char *line, *what; bool no_qemu;
} want[] = {
	{ "real", "from the reset vector, vol. 3 \"First Instruction Executed\"", ALL },
	{ "r00 06 ", "real: UD2 through the IVT, \"Real-Address Mode: Interrupt and Exception Handling\"",
	  ALL },
	{ "r01 00 ", "real: division error", ALL },
	{ "r02 0d ", "real: word at offset FFFFH, \"Limit Checking\"", LOOSE },
	{ "r03 05 ", "real: BOUND", ALL },
	{ "prot", "protected mode, \"Switching to Protected Mode\"", ALL },
	{ "p00 0d 0000", "null selector used, \"Null Segment Selector Checking\"", LOOSE },
	{ "p01 0d 0018", "code segment into SS, \"Type Checking\"", ALL },
	{ "p02 0b 0048", "DS not present", ALL },
	{ "p03 0c 0048", "SS not present", ALL },
	{ "p04 0d 0ff8", "selector beyond the GDT", ALL },
	{ "p05 0d 0000", "offset beyond the limit", LOOSE },
	{ "p06 0d 0000", "write to a read-only segment", LOOSE },
	{ "p07 0d 0000", "read of an execute-only segment", LOOSE },
	{ "p08 0d 0000", "expand-down: offset at the limit", LOOSE },
	{ "p09 0d 0000", "write through CS", LOOSE },
	{ "p10 0d 0000", "null selector into SS", ALL },
	{ "p11 0d 0000", "MOV to CR0: PG without PE", LOOSE },
	{ "p12 0d 0028", "far jump to a data segment", ALL },
	{ "p13 0b 0050", "far jump to a code segment that isn't present", ALL },
	{ "p14 0d 018a", "INT through a gate beyond the IDT", ALL },
	{ "p15 0b 0102", "INT through a gate that isn't present", ALL },
	{ "p16 0d 0028", "LTR of no TSS", ALL },
	{ "p17 0d 0058", "LTR of a busy TSS", ALL },
	{ "p18 0a 0078", "task whose TSS is too small, \"Task Switching\"", ALL },
	{ "gate", "call gate from CPL 3 with a parameter, \"Accessing a Code Segment Through a Call Gate\"",
	  ALL },
	{ "u00 0d 0000", "CPL 3: CLI, IOPL 0", ALL },
	{ "u01 0d 0000", "CPL 3: HLT", ALL },
	{ "u02 0d 0000", "CPL 3: OUT, no bit map", ALL },
	{ "u03 0d 0102", "CPL 3: INT through a gate of DPL 0", ALL },
	{ "u04 0d 0028", "CPL 3: DS of DPL 0", ALL },
	{ "u05 0d 0000", "CPL 3: MOV from CR0", ALL },
	{ "task", "CALL of a TSS and IRET back, \"Task Linking\"", ALL },
	{ "v00 0d 0000", "virtual-8086: CLI, IOPL 0", ALL },
	{ "v01 0d 0000", "virtual-8086: INT n, IOPL 0", ALL },
	{ "v02 06 ", "virtual-8086: LLDT", ALL },
	{ "v03 0d 0000", "virtual-8086: word at FFFFH", LOOSE },
	{ "g00 0e 0000", "32-bit paging: not present, \"Page-Fault Exceptions\"", ALL },
	{ "g01 0e 0002", "32-bit paging: write, not present", ALL },
	{ "g02 0e 0003", "32-bit paging: write protection, CR0.WP", ALL },
	{ "g03 0e 0005", "32-bit paging: user, supervisor page", ALL },
	{ "compat", "IA-32e mode, code of 32 bits, \"Initializing IA-32e Mode\"", ALL },
	{ "long", "64-bit mode", ALL },
	{ "l00 0d 0000", "not canonical", ALL },
	{ "l01 0c 0000", "not canonical, by RBP", LOOSE },
	{ "l02 0e 0000", "4-level paging: not present", ALL },
	{ "l03 0e 0011", "4-level paging: fetch, NX", ALL },
	{ "l04 06 ", "PUSH ES", ALL },
	{ "l05 0d 0000", "WRMSR: LSTAR not canonical", LOOSE },
	{ "l06 0d 0000", "MOV to CR4: PAE cleared", LOOSE },
	{ "l07 0d 0000", "WRMSR: reserved bit of EFER", LOOSE },
	{ "l08 0d 0000", "MOV to CR0: PG cleared by 64-bit code", LOOSE },
	{ "l09 0d 0018", "far jump to a segment with L and D", LOOSE },
	{ "back", "compatibility mode again", ALL },
	{ "real", "real mode again, \"Switching Back to Real-Address Mode\"", ALL },
	{ "done", "the end", ALL },
};

static void compare(const char *who, char *text, bool qemu)
{
	char *save = NULL, *line = strtok_r(text, "\n", &save);

	for (unsigned int i = 0; i < ARRAY_SIZE(want); i++) {
		bool same = line && !strcmp(line, want[i].line);

		if (qemu && want[i].no_qemu) {
			/* it goes on without a fault, or with another */
			if (line && (same || !strncmp(line, want[i].line, 3) || !strcmp(line, "nofault")))
				line = strtok_r(NULL, "\n", &save);
			continue;
		}
		if (!ok(same, "%s: %s: %s", who, want[i].line, want[i].what))
			diag("wrote '%s'", line ? line : "nothing");
		line = strtok_r(NULL, "\n", &save);
	}
	ok(!line, "%s: no more than that", who);
}

static void test_qemu(void)
{
	char dir[] = "/tmp/sys-guests.XXXXXX", cmd[400], path[100], text[4096];
	size_t n;
	FILE *f;

	if (system("command -v qemu-system-x86_64 >/dev/null 2>&1")) {
		skip("the same under QEMU", "qemu-system-x86_64 is not installed");
		return;
	}
	if (!mkdtemp(dir))
		return;
	snprintf(path, sizeof(path), "%s/fw", dir);
	f = fopen(path, "w");
	memcpy(rom, guest_fw, GUEST_FW_SIZE);
	rom[GUEST_FW_QEMU] = 1;
	n = f ? fwrite(rom, 1, GUEST_FW_SIZE, f) : 0;
	if (f)
		fclose(f);
	snprintf(cmd, sizeof(cmd),
		 "timeout 60 qemu-system-x86_64 -accel tcg -cpu max -m 16 -display none -nodefaults "
		 "-no-reboot -bios %s/fw "
		 "-debugcon file:%s/out -device isa-debug-exit,iobase=0xf4 </dev/null >/dev/null 2>&1",
		 dir, dir);
	n = n == GUEST_FW_SIZE ? (size_t)system(cmd) : 0;
	snprintf(path, sizeof(path), "%s/out", dir);
	f = fopen(path, "r");
	n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	compare("QEMU", text, true);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (system(cmd))
		diag("%s is left behind", dir);
}

int main(int argc, char **argv)
{
	static const char dos[] =
		"Hello from a COM program\r\n12345 = 3039h, packed 0042\r\nself-modified\r\n";

	(void)argv;
	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	rom = mmap(NULL, GUEST_FW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ok(run(NULL) == EMUL_EXIT_KICK, "the firmware ends by its own");
	if (argc > 1)
		fputs(out, stderr);
	compare("tenon", out, false);
	ok(run(guest_boot) == EMUL_EXIT_KICK, "the boot sector ends by its own");
	if (!ok(!strcmp(out, dos), "a boot sector with INT 21H and a COM program"))
		diag("wrote '%s'", out);
	test_qemu();
	return tap_done();
}
