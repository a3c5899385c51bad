// SPDX-License-Identifier: GPL-2.0-only
/*
 * machine-acpi.c - ACPI, SMBIOS and MP tables as an operating system finds them
 *
 * The oracles are the specifications' own rules (signatures, lengths, checksums, entry counts) and two other
 * implementations, where they are installed: ACPICA's iasl, which disassembles every table and compiles the
 * DSDT again, and dmidecode.
 */
#include <ctype.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "machine-fake.h"

static struct vm *vm;
static char dir[] = "/tmp/tenon-acpi-XXXXXX";

static const uint8_t *at(uint64_t gpa)
{
	return vm_ram_ptr(vm, gpa, 1);
}

static uint64_t get(const uint8_t *p, unsigned int len)
{
	uint64_t val = 0;

	memcpy(&val, p, len);
	return val;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s += *p++;
	return s;
}

/* Output of a shell command, cut off at @size. Returns its exit status. */
static int run(const char *cmd, char *out, size_t size)
{
	FILE *f = popen(cmd, "r");
	size_t n;
	int status;

	if (!f)
		return -1;
	n = fread(out, 1, size - 1, f);
	out[n] = 0;
	while (fgetc(f) != EOF)
		;
	status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void dump(const char *name, const void *data, size_t len)
{
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		abort();
}

static void by_iasl(const char *name, const uint8_t *table)
{
	char cmd[512], out[8192];

	dump(name, table, get(table + 4, 4));
	snprintf(cmd, sizeof(cmd), "cd %s && iasl -d %s 2>&1", dir, name);
	ok(!run(cmd, out, sizeof(out)) && !strstr(out, "rror") && !strstr(out, "arning") &&
		   !strstr(out, "nvalid"),
	   "iasl disassembles %s", name);
	snprintf(cmd, sizeof(cmd), "cd %s && sed -n '1,/\\*\\//d; /ERROR\\|WARNING\\|Invalid/p' *.dsl", dir);
	run(cmd, out, sizeof(out));
	ok(!*out, "and has nothing against it: %.200s", out);
	if (memcmp(table, "DSDT", 4))
		return;
	snprintf(cmd, sizeof(cmd), "cd %s && iasl -tc *.dsl 2>&1", dir);
	if (!ok(!run(cmd, out, sizeof(out)) && strstr(out, "0 Errors, 0 Warnings"), "and compiles it again"))
		printf("# %s\n", out);
}

static void test_acpi(bool iasl)
{
	const uint8_t *rsdp = at(PC_ACPI), *xsdt, *rsdt, *fadt = NULL, *madt = NULL, *t, *p;
	unsigned int i, n, lapics = 0, overrides = 0, ioapics = 0, bad = 0;
	char name[16], cmd[64], out[16];
	uint64_t rsdp_at;

	is_u64(acpi_build(vm, PC_ACPI, &rsdp_at), 0, "tables for %u processors", vm->config.cpus);
	is_u64(rsdp_at, PC_ACPI, "RSDP at its place");
	ok(!memcmp(rsdp, "RSD PTR ", 8) && rsdp[15] == 2 && !sum(rsdp, 20) && !sum(rsdp, 36), "RSDP, both "
											      "checksums");
	xsdt = at(get(rsdp + 24, 8));
	rsdt = at(get(rsdp + 16, 4));
	ok(!memcmp(xsdt, "XSDT", 4) && !memcmp(rsdt, "RSDT", 4), "XSDT and RSDT");
	n = (get(xsdt + 4, 4) - 36) / 8;
	is_u64((get(rsdt + 4, 4) - 36) / 4, n, "list as many tables");
	for (i = 0; i < n; i++) {
		t = at(get(xsdt + 36 + 8 * i, 8));
		if (get(rsdt + 36 + 4 * i, 4) != get(xsdt + 36 + 8 * i, 8))
			bad++;
		if (sum(t, get(t + 4, 4)))
			bad++;
		if (!memcmp(t, "FACP", 4))
			fadt = t;
		if (!memcmp(t, "APIC", 4))
			madt = t;
		snprintf(name, sizeof(name), "%.4s.dat", (const char *)t);
		snprintf(cmd, sizeof(cmd), "rm -f %s/*", dir);
		run(cmd, out, sizeof(out));
		if (iasl)
			by_iasl(name, t);
	}
	ok(!bad && !sum(xsdt, get(xsdt + 4, 4)) && !sum(rsdt, get(rsdt + 4, 4)), "checksums; both agree");
	ok(fadt && madt, "FADT and MADT are there");
	if (!fadt || !madt)
		return;
	is_u64(get(fadt + 4, 4), 276, "FADT length");
	ok(!memcmp(at(get(fadt + 36, 4)), "FACS", 4) && !(get(fadt + 36, 4) & 63), "FACS, aligned");
	is_u64(get(fadt + 40, 4), get(fadt + 140, 8), "both DSDT addresses agree");
	is_u64(get(fadt + 152, 8), PC_PM_BASE, "PM1a event block");
	is_u64(get(fadt + 120, 8), 0xcf9, "reset register");
	is_u64(fadt[128], 6, "reset value");
	t = at(get(fadt + 40, 4));
	ok(!memcmp(t, "DSDT", 4) && !sum(t, get(t + 4, 4)), "DSDT (%llu bytes)",
	   (unsigned long long)get(t + 4, 4));
	run(cmd, out, sizeof(out));
	if (iasl)
		by_iasl("DSDT.dat", t);

	/* Name (ADDR, Package (2) { DWord, ... }) */
	p = memmem(t, get(t + 4, 4), "ADDR\x12", 5);
	ok(p && p[6] == 2 && p[7] == 0x0c, "VM generation: its address, low part first");
	ok(p && !(get(p + 8, 4) & 7) && !memcmp(at(get(p + 8, 4)), vm->generation, 16), "where it is, aligned");

	for (p = madt + 44; p < madt + get(madt + 4, 4); p += p[1]) {
		if (!p[1]) {
			bad++;
			break;
		}
		lapics += p[0] == 0 || p[0] == 9;
		ioapics += p[0] == 1;
		overrides += p[0] == 2;
	}
	ok(!bad && p == madt + get(madt + 4, 4), "MADT entries fill it exactly");
	is_u64(lapics, vm->config.cpus, "a local APIC for each processor");
	ok(ioapics == 1 && overrides == 2, "one IOAPIC, two overrides");
}

static void test_mp(void)
{
	static const uint8_t size[] = { 20, 8, 8, 8, 8 };
	const uint8_t *mp = at(PC_MPTABLE), *t, *p;
	unsigned int i, n, count[5] = { 0 };

	is_u64(mptable_build(vm), 0, "MP table");
	ok(!memcmp(mp, "_MP_", 4) && !sum(mp, 16), "floating pointer");
	t = at(get(mp + 4, 4));
	ok(!memcmp(t, "PCMP", 4) && !sum(t, get(t + 4, 2)), "configuration table");
	n = get(t + 34, 2);
	for (p = t + 44, i = 0; i < n && *p < 5; i++) {
		count[*p]++;
		p += size[*p];
	}
	ok(i == n && p == t + get(t + 4, 2), "as many entries as it says fill it exactly");
	is_u64(count[0], vm->config.cpus < 254 ? vm->config.cpus : 254, "processors");
	ok(count[1] == 2 && count[2] == 1 && count[4] == 2, "buses, IOAPIC, local interrupts");
}

static void test_smbios(void)
{
	const uint8_t *sm2 = at(PC_SMBIOS), *sm3 = sm2 + 32, *p;
	char cmd[256], out[16384];
	unsigned int n = 0;
	uint32_t len;

	is_u64(smbios_build(vm), 0, "SMBIOS tables");
	ok(!memcmp(sm2, "_SM_", 4) && !sum(sm2, 31) && !sum(sm2 + 16, 15), "32-bit entry point");
	ok(!memcmp(sm3, "_SM3_", 5) && !sum(sm3, 24), "64-bit entry point");
	len = get(sm3 + 12, 4);
	is_u64(get(sm2 + 22, 2), len, "both give the same length");
	for (p = at(get(sm3 + 16, 8)); p < at(get(sm3 + 16, 8)) + len; n++) {
		p += p[1];
		while (p[0] || p[1])
			p++;
		p += 2;
	}
	is_u64(n, get(sm2 + 28, 2), "number of structures");
	ok(p == at(get(sm3 + 16, 8)) + len, "which fill it exactly");
	if (system("command -v dmidecode >/dev/null")) {
		skip("dmidecode reads it", "dmidecode is not installed");
		return;
	}
	/* dmidecode's own dump format: the entry point, then the table at 32, which the entry point names. */
	static uint8_t image[32 + 4096];

	memcpy(image, sm3, 24);
	image[16] = 32;
	memset(image + 17, 0, 7);
	pc_checksum(image, 24, 5);
	memcpy(image + 32, at(get(sm3 + 16, 8)), len);
	dump("dmi.bin", image, 32 + len);
	snprintf(cmd, sizeof(cmd), "dmidecode --from-dump %s/dmi.bin 2>&1", dir);
	ok(!run(cmd, out, sizeof(out)) && !strcasestr(out, "broken") && !strcasestr(out, "invalid") &&
	   !strcasestr(out, "bad ") && !strcasestr(out, "<OUT OF SPEC>"), "dmidecode reads it");
	ok(strstr(out, "Tenon virtual machine") && strstr(out, "End Of Table"), "to its end");
	if (getenv("VERBOSE"))
		puts(out);
}

static void test_map(void)
{
	struct pc_mem map[PC_MEM_MAX];
	unsigned int i, n = pc_memory_map(vm, map), bad = 0;
	uint64_t ram = 0;

	for (i = 0; i < n; i++) {
		if (map[i].type == PC_MEM_RAM)
			ram += map[i].size;
		if (i && map[i].base < map[i - 1].base + map[i - 1].size)
			bad++;
	}
	is_u64(bad, 0, "the memory map is sorted and does not overlap");
	is_u64(ram, vm->config.memory - (PC_HIGH - PC_EBDA), "and has all RAM but the hole below 1 MiB");
}

int main(void)
{
	static const struct {
		uint64_t memory;
		unsigned int cpus;
	} machine[] = { { 64 << 20, 1 }, { 5ull << 30, 4 }, { 128 << 20, 255 }, { 128 << 20, 1024 } };
	bool iasl = !system("command -v iasl >/dev/null");
	char cmd[64], out[16];
	unsigned int i;
	void *pci = NULL, *hot = NULL;

	if (!mkdtemp(dir))
		return 1;
	if (!iasl)
		skip("iasl reads the tables", "iasl (acpica-tools) is not installed");
	for (i = 0; i < sizeof(machine) / sizeof(machine[0]); i++) {
		vm = fake_vm(machine[i].memory);
		vm->config.cpus = machine[i].cpus;
		memset(vm->generation, 0x5a + (int)i, sizeof(vm->generation));
		pci_host_device.init(vm, &pci);
		hotplug_device.init(vm, &hot);
		test_acpi(iasl && i < 3);
		test_mp();
		test_smbios();
		test_map();
		hotplug_device.exit(vm, hot);
		pci_host_device.exit(vm, pci);
		fake_vm_exit(vm);
	}
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	run(cmd, out, sizeof(out));
	return tap_done();
}
