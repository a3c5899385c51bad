// SPDX-License-Identifier: GPL-2.0-only
/*
 * features.c - what the node says of itself, and what an operator sees
 */
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "harness.h"

/* ---- every capability has its test ---- */

#define MAX_CAPS 512

TEST(caps, "each capability that is offered is exercised by a test")
{
	char dir[512], path[1024], names[] = TESTS, *name;
	bool tested[MAX_CAPS] = { false };
	ssize_t len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	unsigned int cap;

	if (is_kvm())
		SKIP("KVM offers more");
	REQUIRE(len > 0);
	dir[len] = 0;
	*strrchr(dir, '/') = 0;
	for (name = strtok(names, " "); name; name = strtok(NULL, " ")) {
		FILE *out;

		snprintf(path, sizeof(path), "%s/%s --caps", dir, name);
		out = popen(path, "r");
		REQUIRE(out);
		while (fscanf(out, "%u", &cap) == 1)
			tested[cap % MAX_CAPS] = true;
		CHECK_EQ(pclose(out), 0);
	}
	for (cap = 0; cap < MAX_CAPS; cap++) {
		if (has_cap(cap) <= 0 || tested[cap])
			continue;
		printf("#   capability %u is offered, and none of the tests in %s names it\n", cap, dir);
		test_fail(__FILE__, __LINE__, "a capability without a test", 0);
	}
}

/* ---- every feature that CPUID names works ---- */

#define FEATURE(leaf, index, reg, bit) (leaf << 32 | index << 16 | FEATURE_##reg << 8 | bit)
#define FEATURE_EAX 0
#define FEATURE_EBX 1
#define FEATURE_ECX 2
#define FEATURE_EDX 3

/* RBX is an address, on a boundary of 64. */
INSN(FEATURE(1, 0, ECX, 0), "addsubps %xmm0, %xmm1");
INSN(FEATURE(1, 0, ECX, 1), "pclmulqdq $0, %xmm0, %xmm1");
INSN(FEATURE(1, 0, ECX, 9), "pabsb %xmm0, %xmm1");
INSN(FEATURE(1, 0, ECX, 12), "vfmadd132ps %xmm0, %xmm1, %xmm2");
INSN(FEATURE(1, 0, ECX, 13), "cmpxchg16b (%rbx)");
INSN(FEATURE(1, 0, ECX, 19), "pmulld %xmm0, %xmm1");
INSN(FEATURE(1, 0, ECX, 20), "pcmpgtq %xmm0, %xmm1");
INSN(FEATURE(1, 0, ECX, 22), "movbe (%rbx), %eax");
INSN(FEATURE(1, 0, ECX, 23), "popcnt %eax, %ecx");
INSN(FEATURE(1, 0, ECX, 25), "aesenc %xmm0, %xmm1");
INSN(FEATURE(1, 0, ECX, 26), "xor %ecx, %ecx; xgetbv");
INSN(FEATURE(1, 0, ECX, 28), "vaddps %ymm0, %ymm1, %ymm2");
INSN(FEATURE(1, 0, ECX, 29), "vcvtph2ps %xmm0, %xmm1");
INSN(FEATURE(1, 0, ECX, 30), "rdrand %eax");
INSN(FEATURE(1, 0, EDX, 0), "fninit; fld1; fstp %st");
INSN(FEATURE(1, 0, EDX, 4), "rdtsc");
INSN(FEATURE(1, 0, EDX, 5), "mov $0xc0000080, %ecx; rdmsr");
INSN(FEATURE(1, 0, EDX, 8), "cmpxchg8b (%rbx)");
INSN(FEATURE(1, 0, EDX, 15), "cmovz %eax, %ecx");
INSN(FEATURE(1, 0, EDX, 19), "clflush (%rbx)");
INSN(FEATURE(1, 0, EDX, 23), "paddb %mm0, %mm1; emms");
INSN(FEATURE(1, 0, EDX, 24), "fxsave (%rbx)");
INSN(FEATURE(1, 0, EDX, 25), "addps %xmm0, %xmm1");
INSN(FEATURE(1, 0, EDX, 26), "paddq %xmm0, %xmm1");
INSN(FEATURE(7, 0, EBX, 0), "rdfsbase %rax");
INSN(FEATURE(7, 0, EBX, 3), "andn %eax, %ecx, %edx");
INSN(FEATURE(7, 0, EBX, 5), "vpaddq %ymm0, %ymm1, %ymm2");
INSN(FEATURE(7, 0, EBX, 8), "pdep %eax, %ecx, %edx");
INSN(FEATURE(7, 0, EBX, 10), "mov $2, %eax; movq $0, (%rbx); movq $0, 8(%rbx); invpcid (%rbx), %rax");
INSN(FEATURE(7, 0, EBX, 16), "vpaddd %zmm0, %zmm1, %zmm2");
INSN(FEATURE(7, 0, EBX, 18), "rdseed %eax");
INSN(FEATURE(7, 0, EBX, 19), "adcx %eax, %ecx");
INSN(FEATURE(7, 0, EBX, 20), "clac");
INSN(FEATURE(7, 0, EBX, 23), "clflushopt (%rbx)");
INSN(FEATURE(7, 0, EBX, 24), "clwb (%rbx)");
INSN(FEATURE(7, 0, EBX, 29), "sha1nexte %xmm0, %xmm1");
INSN(FEATURE(7, 0, ECX, 3), "xor %ecx, %ecx; rdpkru");
INSN(FEATURE(7, 0, ECX, 8), "gf2p8mulb %xmm0, %xmm1");
INSN(FEATURE(7, 0, ECX, 9), "vaesenc %ymm0, %ymm1, %ymm2");
INSN(FEATURE(7, 0, ECX, 10), "vpclmulqdq $0, %ymm0, %ymm1, %ymm2");
INSN(FEATURE(7, 0, ECX, 22), "rdpid %rax");
INSN(FEATURE(7, 0, ECX, 27), "movdiri %eax, (%rbx)");
INSN(FEATURE(7, 0, ECX, 28), "movdir64b (%rbx), %rbx");
INSN(FEATURE(7, 0, EDX, 14), "serialize");
INSN(FEATURE(0xd, 1, EAX, 0), "mov $3, %eax; xor %edx, %edx; xsaveopt (%rbx)");
INSN(FEATURE(0xd, 1, EAX, 1), "mov $3, %eax; xor %edx, %edx; xsavec (%rbx)");
INSN(FEATURE(0xd, 1, EAX, 2), "mov $1, %ecx; xgetbv");
INSN(FEATURE(0xd, 1, EAX, 3), "mov $3, %eax; xor %edx, %edx; xsaves (%rbx)");
INSN(FEATURE(0x80000001, 0, ECX, 0), "lahf; sahf");
INSN(FEATURE(0x80000001, 0, ECX, 5), "lzcnt %eax, %ecx");
INSN(FEATURE(0x80000001, 0, ECX, 6), "extrq %xmm0, %xmm1");
INSN(FEATURE(0x80000001, 0, ECX, 8), "prefetchw (%rbx)");
INSN(FEATURE(0x80000001, 0, ECX, 21), "blcfill %eax, %ecx");
INSN(FEATURE(0x80000001, 0, EDX, 22), "pminub %mm0, %mm1; emms");
INSN(FEATURE(0x80000001, 0, EDX, 27), "rdtscp");
INSN(FEATURE(0x80000001, 0, EDX, 31), "pfadd %mm0, %mm1; femms");
INSN(FEATURE(0x80000008, 0, EBX, 0), "mov %rbx, %rax; clzero");
INSN(FEATURE(0x80000008, 0, EBX, 9), "wbnoinvd");

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t index)
{
	unsigned int n;

	for (n = 0; n < c->nent; n++) {
		if (c->entries[n].function == leaf && c->entries[n].index == index)
			return &c->entries[n];
	}
	return NULL;
}

static bool offers(const struct kvm_cpuid2 *c, uint64_t feature)
{
	const struct kvm_cpuid_entry2 *e = find(c, feature >> 32, feature >> 16 & 0xffff);
	uint32_t regs[4];

	if (!e)
		return false;
	regs[0] = e->eax;
	regs[1] = e->ebx;
	regs[2] = e->ecx;
	regs[3] = e->edx;
	return regs[feature >> 8 & 3] >> (feature & 0xff) & 1;
}

ASM64(halt, "hlt");
TEST(cpuid_works, "a guest can execute the instructions of each feature that KVM_GET_SUPPORTED_CPUID names",
     KVM_CAP_EXT_CPUID)
{
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK_OF(0), .rflags = 2, .rbx = FREE };
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, halt);
	const struct kvm_cpuid_entry2 *e;
	const struct insn *insn;
	struct kvm_xcrs xcrs;
	struct kvm_sregs s;
	unsigned int count = 0;
	int r;

	c->nent = 256;
	REQUIRE(!ioctl(dev_fd, KVM_GET_SUPPORTED_CPUID, c));
	REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= offers(c, 1ull << 32 | 2 << 8 | 26) << 18 | offers(c, 7ull << 32 | 1 << 8) << 16 |
		 offers(c, 7ull << 32 | 2 << 8 | 3) << 22;
	REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_SREGS, &s));
	e = find(c, 0xd, 0);
	if (e) {
		REQUIRE(!ioctl(vm->vcpu[0], KVM_GET_XCRS, &xcrs));
		xcrs.xcrs[0].value = e->eax | (uint64_t)e->edx << 32;
		REQUIRE(!ioctl(vm->vcpu[0], KVM_SET_XCRS, &xcrs));
	}
	FOR_EACH_INSN(insn) {
		if (!offers(c, insn->flags))
			continue;
		memcpy(vm->mem + CODE, insn->code, insn->len + 1);
		vm_set_regs(vm, 0, &regs);
		r = vm_run(vm, 0);
		count++;
		if (r == KVM_EXIT_HLT)
			continue;
		printf("#   %s: left with exit %d\n", insn->text, r);
		test_fail(__FILE__, __LINE__, insn->text, 0);
	}
	printf("#   %u features\n", count);
	CHECK(count > 20);
	free(c);
}

/* ---- what an operator sees ---- */

static bool file_has(const char *path, const char *what)
{
	static char text[1 << 16];
	FILE *f = fopen(path, "r");
	size_t n;

	if (!f)
		return false;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	return strstr(text, what);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	REQUIRE(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), (long)strlen(text));
	close(fd);
}

ASM16(seen_code, "cpuid;" SAY(0x5a) "hlt");
TEST(seen, "tracepoints and counters tell of an exit, and the directory goes with its VM")
{
	struct vm *vm;
	struct stat st;
	struct dirent *d;
	char path[512], dir[300] = "";
	DIR *list;

	if (is_kvm())
		SKIP("Tenon's own");
	if (stat("/sys/kernel/debug/tenon", &st))
		REQUIRE(!mount("none", "/sys/kernel/debug", "debugfs", 0, NULL));
	if (stat("/sys/kernel/tracing/events/tenon", &st))
		REQUIRE(!mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL));
	put("/sys/kernel/tracing/trace", "");
	put("/sys/kernel/tracing/events/tenon/enable", "1");
	vm = GUEST(CHIPS_NONE, MODE_REAL, seen_code);
	CHECK(vm_says(vm, 0, 0x5a));
	put("/sys/kernel/tracing/events/tenon/enable", "0");
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_entry: vcpu 0 rip 0x1000"));
	CHECK(file_has("/sys/kernel/tracing/trace", __builtin_cpu_is("intel") ?
		       "tenon_exit: vcpu 0 rip 0x1000 reason 0xa " : "tenon_exit: vcpu 0 rip 0x1000 reason 0x72 "));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_page_fault: vcpu 0 rip 0x1000 gpa 0x1000"));
	CHECK(file_has("/sys/kernel/tracing/trace", "tenon_pio: vcpu 0 out port 0x80 size 1 count 1 value 0x5a"));

	snprintf(path, sizeof(path), "%d-", getpid());
	list = opendir("/sys/kernel/debug/tenon");
	REQUIRE(list);
	while ((d = readdir(list))) {
		if (!strncmp(d->d_name, path, strlen(path)))
			snprintf(dir, sizeof(dir), "%s", d->d_name);
	}
	closedir(list);
	REQUIRE(*dir);
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s/vcpu0", dir);
	CHECK(file_has(path, "\nio_user 1\n"));
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s/total", dir);
	CHECK(file_has(path, "vcpus 1\n"));
	CHECK(!file_has(path, "\nexits 0\n"));
	CHECK(!file_has("/sys/kernel/debug/tenon/total", "vms 0\n"));
	vm_free(vm);
	snprintf(path, sizeof(path), "/sys/kernel/debug/tenon/%s", dir);
	CHECK(stat(path, &st) && errno == ENOENT);
	CHECK(!file_has("/sys/kernel/debug/tenon/total", "\nio_user 0\n"));
}
