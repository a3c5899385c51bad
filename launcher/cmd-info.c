// SPDX-License-Identifier: GPL-2.0-only
/*
 * cmd-info.c - tenon info: what this host can run guests with, and what to do where it can't
 */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cmd.h"
#include "msg.h"
#include "sandbox.h"

#define MIB	(1ull << 20)

/* First value of a key in /proc/cpuinfo; false if there is none. */
static bool cpuinfo(const char *key, char *val, size_t len)
{
	char line[8192];
	bool found = false;
	FILE *f = fopen("/proc/cpuinfo", "re");

	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');
		size_t n = strlen(key);

		if (!colon || strncmp(line, key, n) || (line[n] != '\t' && line[n] != ' ' && line[n] != ':'))
			continue;
		colon++;
		colon += strspn(colon, " \t");
		colon[strcspn(colon, "\n")] = '\0';
		snprintf(val, len, "%s", colon);
		found = true;
	}
	fclose(f);
	return found;
}

static bool has_flag(const char *flags, const char *flag)
{
	size_t n = strlen(flag);

	for (const char *p = flags; (p = strstr(p, flag)); p += n) {
		if ((p == flags || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return true;
	}
	return false;
}

/* The name of the processor's virtualization extension, or NULL. */
static const char *virt_extension(void)
{
	char flags[8192];

	if (!cpuinfo("flags", flags, sizeof(flags)))
		return NULL;
	return has_flag(flags, "svm") ? "AMD-V (svm)" : has_flag(flags, "vmx") ? "Intel VT-x (vmx)" : NULL;
}

static const char no_extension[] =
	"But the processor shows no virtualization extension (neither vmx nor svm in /proc/cpuinfo): what answers there "
	"all the same runs no ordinary guest well. It is never chosen by itself.";

/* Print @text in lines of up to 100 columns, each after @indent spaces. */
static void print_wrapped(const char *text, int indent)
{
	size_t width = 100 - (size_t)indent;

	while (*text) {
		size_t n = strlen(text);

		if (n > width) {
			n = width;
			while (n && text[n] != ' ')
				n--;
			if (!n)
				n = strcspn(text, " ");
		}
		printf("%*s%.*s\n", indent, "", (int)n, text);
		text += n;
		text += strspn(text, " ");
	}
}

static void print_accels(void)
{
	const char *chosen = NULL;

	printf("Ways of running guest code:\n");
	for (unsigned int i = 0; accel_table[i]; i++) {
		const struct accel_ops *ops = accel_table[i];
		char why[512] = "";
		bool usable = ops->probe(why, sizeof(why));

		printf("  %-8s %s\n", ops->name, ops->summary);
		printf("           %s\n", usable ? "usable" : "not usable");
		print_wrapped(why, 11);
		if (usable && ops == &accel_kvm && !virt_extension())
			print_wrapped(no_extension, 11);
		if (usable && !chosen)
			chosen = ops->name;
	}
	if (chosen)
		printf("\n`tenon run` takes '%s', unless --accel names another.\n", chosen);
	else
		printf("\n`tenon run` can't run anything on this host.\n");
}

static void print_host(void)
{
	static const char *const telling[] = {
		"svm", "vmx", "hypervisor", "sse4_2", "avx", "avx2", "avx512f", "bmi2", "adx", "sha_ni",
		"fsgsbase", "constant_tsc", "nonstop_tsc", "invpcid", "pku",
	};
	char model[256] = "unknown", flags[8192] = "";
	uint64_t ram = 0, total = host_memory(&ram);
	struct utsname uts;
	unsigned int n = 0;

	cpuinfo("model name", model, sizeof(model));
	cpuinfo("flags", flags, sizeof(flags));
	if (!uname(&uts))
		printf("Host:       %s %s, %s\n", uts.sysname, uts.release, uts.machine);
	printf("Processor:  %s\n", model);
	printf("            %u usable by this process%s\n", host_cpus(),
	       has_flag(flags, "hypervisor") ? "; the host is itself a virtual machine" : "");
	printf("Features:  ");
	for (unsigned int i = 0; i < sizeof(telling) / sizeof(telling[0]); i++) {
		if (has_flag(flags, telling[i]) && ++n)
			printf(" %s", telling[i]);
	}
	printf("%s\n", n ? "" : " none of those that matter here");
	if (total)
		printf("Memory:     %llu MiB, %llu MiB of swap\n", (unsigned long long)(ram / MIB),
		       (unsigned long long)((total - ram) / MIB));
}

static void print_sandbox(void)
{
	unsigned int landlock;

	printf("Sandbox:    system calls %s", sandbox_probe(&landlock) ? "filtered (seccomp)" :
	       "not filtered: this kernel has no seccomp, and tenon run needs --sandbox off");
	if (landlock)
		printf(", files confined (Landlock, version %u)\n", landlock);
	else
		printf(", files not confined: this kernel has no Landlock\n");
}

int cmd_info(int argc, char **argv)
{
	if (argc > 1) {
		if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
			printf("Usage: tenon info\n\n"
			       "Tells what this host is, which ways of running guest code it offers, and\n"
			       "for the others why not and what to do about it.\n");
			return EXIT_OK;
		}
		msg_error("'tenon info' takes no arguments, and was given '%s'", argv[1]);
		return EXIT_USAGE;
	}
	printf("tenon %s\n\n", TENON_VERSION);
	print_host();
	print_sandbox();
	printf("\n");
	print_accels();
	return EXIT_OK;
}
