// SPDX-License-Identifier: GPL-2.0-only
/*
 * vms.c - VMs that come and go, for tests that look at the module from outside
 *
 *	vms once		one whose guest halts
 *	vms hold		one whose guest spins, until it is killed; says "running" first
 *	vms race N SECONDS	N processes make VMs, run a guest in each, and give them up: now and then the first and the
 *				last there is. Says how many; fails if one of them could not be made or did not run.
 *				With "contend" after it, EBUSY (EIO: 6.12's KVM) is none: another hypervisor has the processors
 *	vms kexec KERNEL INITRD	start another kernel with the command line of this one, and "again" added
 *	vms kdump KERNEL INITRD	make it ready for when this one crashes
 *
 * The node is $TENON_DEV, /dev/tenon unless set.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/kvm.h>
#include <linux/reboot.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "vms: %s: %s\n", what, strerror(errno));
	return 1;
}

/* A VM whose vCPU starts in real mode at the end of its only page, with @code. Runs it; 0 if it halted. */
static bool contend;

static int one_vm(uint32_t code, const char *say)
{
	const char *node = getenv("TENON_DEV");
	int dev = open(node ? node : "/dev/tenon", O_RDWR | O_CLOEXEC), vm, vcpu, ret;
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = 0xfffff000, .memory_size = 4096 };
	struct kvm_run *run;
	uint8_t *mem;

	if (dev < 0)
		return fail("the node does not open");
	vm = ioctl(dev, KVM_CREATE_VM, 0);
	if (vm < 0) {
		close(dev);
		return contend && (errno == EBUSY || errno == EIO) ? -EBUSY : fail("KVM_CREATE_VM");
	}
	mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(mem + 0xff0, &code, sizeof(code));
	slot.userspace_addr = (uintptr_t)mem;
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0 || ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000) || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot))
		return fail("a VM's memory or vCPU");
	run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return fail("mapping a vCPU");
	if (say) {
		puts(say);
		fflush(stdout);
	}
	/* Suspend freezes it, which is seen as a signal. */
	do
		ret = ioctl(vcpu, KVM_RUN, 0);
	while (ret && errno == EINTR);
	if (ret || run->exit_reason != KVM_EXIT_HLT) {
		ret = fail("KVM_RUN");
		fprintf(stderr, "vms: exit reason %u\n", run->exit_reason);
	}
	munmap(run, 4096);
	close(vcpu);
	close(vm);
	close(dev);
	munmap(mem, 4096);
	return ret;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static int race(int n, double seconds)
{
	const double end = now() + seconds;
	unsigned long *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), sum = 0;
	int i, status, bad = 0;

	for (i = 0; i < n; i++) {
		if (fork())
			continue;
		while (now() < end) {
			status = one_vm(0xf4, NULL);
			if (status > 0)
				_exit(1);
			made[i] += !status;
			/* Pauses of different lengths, so that no VM is left at times. */
			usleep(1000 * (i + 1));
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	for (i = 0; i < n; i++)
		sum += made[i];
	printf("%lu VMs\n", sum);
	return bad || !sum;
}

/* Another kernel, now or when this one crashes. */
static int start(const char *kernel, const char *initrd, bool crash)
{
	char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY), len = read(fd, line, sizeof(line) - 64);

	if (len <= 0)
		return fail("/proc/cmdline");
	/* Of the memory that is kept for it, a crash kernel has little, and a processor. */
	strcpy(line + len - 1, crash ? " nr_cpus=1 reset_devices again" : " again");
	if (syscall(SYS_kexec_file_load, open(kernel, O_RDONLY), open(initrd, O_RDONLY), strlen(line) + 1, line,
		    crash ? KEXEC_FILE_ON_CRASH : 0UL))
		return fail("kexec_file_load");
	if (crash)
		return 0;
	reboot(LINUX_REBOOT_CMD_KEXEC);
	return fail("reboot");
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "once"))
		return one_vm(0xf4, NULL); /* HLT */
	if (argc == 2 && !strcmp(argv[1], "hold"))
		return one_vm(0xfeebfb, "running"); /* STI, for the sake of Bochs: see vm_counts(); jmp . */
	contend = argc == 5 && !strcmp(argv[4], "contend");
	if (argc == 4 + contend && !strcmp(argv[1], "race"))
		return race(atoi(argv[2]), atof(argv[3]));
	if (argc == 4 && (!strcmp(argv[1], "kexec") || !strcmp(argv[1], "kdump")))
		return start(argv[2], argv[3], !strcmp(argv[1], "kdump"));
	fprintf(stderr, "usage: vms once | hold | race N SECONDS [contend] | kexec|kdump KERNEL INITRD\n");
	return 2;
}
