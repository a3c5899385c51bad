// SPDX-License-Identifier: GPL-2.0-only
/*
 * hostile.c - callers that mean harm, or do not know what they are doing
 *
 * What they get is an error, and what they leave works: each test ends with a guest that runs, in the same VM where there
 * is one left. That the kernel is unharmed is for its log to say, and for the debug kernel.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "harness.h"

#define PAGE	0x1000ul
#define TOP	MEM_SIZE

static uint64_t rnd_state = 0x9e3779b97f4a7c15;

/* xorshift64*: the same numbers in every run. */
static uint64_t rnd(void)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 0x2545f4914f6cdd1dull;
}

/* ---- structures ---- */

enum target { NODE, VM, VCPU };
static const struct {
	enum target target;
	unsigned long cmd;
	size_t size;		/* of what is copied: that of the command is 0 or 4 where an array follows */
	const char *name;
} commands[] = {
#define CMD(target, cmd) { target, cmd, _IOC_SIZE(cmd), #cmd }
	CMD(NODE, KVM_GET_SUPPORTED_CPUID), CMD(NODE, KVM_GET_MSR_INDEX_LIST), CMD(NODE, KVM_GET_MSR_FEATURE_INDEX_LIST),
	CMD(NODE, KVM_GET_MSRS), CMD(NODE, KVM_X86_GET_MCE_CAP_SUPPORTED),
	CMD(VM, KVM_SET_USER_MEMORY_REGION), CMD(VM, KVM_GET_DIRTY_LOG), CMD(VM, KVM_CLEAR_DIRTY_LOG),
	CMD(VM, KVM_ENABLE_CAP), CMD(VM, KVM_SET_GSI_ROUTING), CMD(VM, KVM_IRQ_LINE), CMD(VM, KVM_IRQ_LINE_STATUS),
	CMD(VM, KVM_GET_IRQCHIP), { VM, KVM_SET_IRQCHIP, sizeof(struct kvm_irqchip), "KVM_SET_IRQCHIP" },
	CMD(VM, KVM_GET_PIT2), CMD(VM, KVM_SET_PIT2), CMD(VM, KVM_REINJECT_CONTROL), CMD(VM, KVM_IRQFD),
	CMD(VM, KVM_IOEVENTFD), CMD(VM, KVM_SIGNAL_MSI), CMD(VM, KVM_REGISTER_COALESCED_MMIO),
	CMD(VM, KVM_UNREGISTER_COALESCED_MMIO), CMD(VM, KVM_GET_CLOCK), CMD(VM, KVM_SET_CLOCK), CMD(VM, KVM_CREATE_PIT2),
	CMD(VCPU, KVM_INTERRUPT), CMD(VCPU, KVM_SET_SIGNAL_MASK), CMD(VCPU, KVM_SET_CPUID2), CMD(VCPU, KVM_GET_CPUID2),
	CMD(VCPU, KVM_GET_MSRS), CMD(VCPU, KVM_SET_MSRS), CMD(VCPU, KVM_GET_FPU), CMD(VCPU, KVM_SET_FPU),
	CMD(VCPU, KVM_GET_XSAVE), CMD(VCPU, KVM_GET_XSAVE2), CMD(VCPU, KVM_SET_XSAVE), CMD(VCPU, KVM_GET_XCRS),
	CMD(VCPU, KVM_SET_XCRS), CMD(VCPU, KVM_GET_REGS), CMD(VCPU, KVM_SET_REGS), CMD(VCPU, KVM_GET_SREGS),
	CMD(VCPU, KVM_SET_SREGS), CMD(VCPU, KVM_GET_VCPU_EVENTS), CMD(VCPU, KVM_SET_VCPU_EVENTS),
	CMD(VCPU, KVM_GET_DEBUGREGS), CMD(VCPU, KVM_SET_DEBUGREGS), CMD(VCPU, KVM_SET_GUEST_DEBUG),
	CMD(VCPU, KVM_GET_MP_STATE), CMD(VCPU, KVM_SET_MP_STATE), CMD(VCPU, KVM_TRANSLATE), CMD(VCPU, KVM_GET_LAPIC),
	CMD(VCPU, KVM_SET_LAPIC), CMD(VCPU, KVM_TPR_ACCESS_REPORTING), CMD(VCPU, KVM_SET_VAPIC_ADDR),
	CMD(VCPU, KVM_X86_SETUP_MCE), CMD(VCPU, KVM_X86_SET_MCE), CMD(VCPU, KVM_ENABLE_CAP),
#undef CMD
};

static int fd_of(struct vm *vm, enum target target)
{
	return target == NODE ? dev_fd : target == VM ? vm->fd : vm->vcpu[0];
}

TEST(pointers, "structures in the kernel, beyond user space, and half in memory that is not there are EFAULT")
{
	uint8_t *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vm *vm = vm_new(CHIPS_KERNEL);
	unsigned int n, k;

	/* Before the first vCPU. */
	CHECK_ERR(ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, 0xffffffff81000000), EFAULT);
	vm = vm_machine();
	REQUIRE(two != MAP_FAILED && !munmap(two + PAGE, PAGE));
	for (n = 0; n < COUNT(commands); n++) {
		const uintptr_t bad[] = {
			0xffffffff81000000, 0x8000000000000000, 0x00007ffffffffff8, (uintptr_t)two + PAGE,
			(uintptr_t)two + PAGE - commands[n].size / 2,
		};

		for (k = 0; k < COUNT(bad); k++) {
			int r = ioctl(fd_of(vm, commands[n].target), commands[n].cmd, bad[k]), e = errno;

			if (r == -1 && e == (commands[n].cmd == KVM_GET_XCRS || commands[n].cmd == KVM_SET_XCRS ?
					     has_xcrs() ? EFAULT : EINVAL : EFAULT))
				continue;
			printf("#   %s at %#lx: returned %d, %s\n", commands[n].name, bad[k], r, strerror(e));
			test_fail(__FILE__, __LINE__, "a bad pointer is taken", e);
		}
	}
	CHECK(vm_works(vm));
	munmap(two, PAGE);
}


/* All ones; noise; and what there is, with some of it changed, which gets further in. */
static void fuzz_struct(struct vm *vm, unsigned int n, uint8_t *arg, unsigned int round)
{
	size_t k;

	if (round == 0)
		memset(arg, 0xff, 2 * PAGE);
	for (k = 0; round % 2 && k < 2 * PAGE; k += 8)
		memcpy(arg + k, &(uint64_t){ rnd() }, 8);
	for (k = 0; round && round % 2 == 0 && k < 1 + rnd() % 8; k++)
		arg[rnd() % (commands[n].size + 32)] = rnd() % 3 ? 1u << rnd() % 8 : rnd();
	/* This process's own memory is not to be hit by chance. */
	if (commands[n].cmd == KVM_SET_USER_MEMORY_REGION)
		((struct kvm_userspace_memory_region *)arg)->userspace_addr = (uintptr_t)vm->mem;
	if (commands[n].cmd == KVM_GET_DIRTY_LOG || commands[n].cmd == KVM_CLEAR_DIRTY_LOG)
		((struct kvm_dirty_log *)arg)->dirty_bitmap = arg + PAGE;
	ioctl(fd_of(vm, commands[n].target), commands[n].cmd, arg);
	/* A guest that spins has to be left. */
	if (commands[n].cmd == KVM_SET_SIGNAL_MASK)
		ioctl(vm->vcpu[0], KVM_SET_SIGNAL_MASK, NULL);
}

TEST(structures, "structures of noise, and of state with some bits changed: the guest runs with them, or it does not")
{
	static const unsigned long get[] = {
		KVM_GET_REGS, KVM_GET_SREGS, KVM_GET_VCPU_EVENTS, KVM_GET_DEBUGREGS, KVM_GET_MP_STATE, KVM_GET_LAPIC,
		KVM_GET_FPU, KVM_GET_XCRS, KVM_GET_XSAVE2,
	};
	uint8_t *arg = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int n, round, ran = 0;
	struct vm *vm;

	REQUIRE(arg != MAP_FAILED);
	for (round = 0; round < 16; round++) {
		vm = vm_machine();
		vm_script(vm, 0, STEPS());
		for (n = 0; n < COUNT(commands); n++) {
			if (commands[n].target == VCPU)
				ioctl(vm->vcpu[0], get[rnd() % COUNT(get)], arg);
			fuzz_struct(vm, n, arg, round);
			if (commands[n].target == VCPU)
				ran += vm_run_for(vm, 0, 1) >= 0;
		}
		vm_free(vm);
	}
	printf("#   %u times the guest left by itself\n", ran);
	vm = vm_machine();
	CHECK(vm_works(vm));
	munmap(arg, 4 * PAGE);
}

TEST(no_timer, "KVM_SET_TSC_KHZ without a local APIC, whose timer would follow: the guest runs")
{
	struct vm *vm = vm_new(CHIPS_NONE);

	vm_add_vcpu(vm);
	CHECK(!ioctl(vm->vcpu[0], KVM_SET_TSC_KHZ, 0) || is_kvm());
	vm_script(vm, 0, STEPS(SAYS(2), RDMSR(0x10), SAYS(3)));
	CHECK(vm_says(vm, 0, 2) && vm_says(vm, 0, 3) && vm_says(vm, 0, DONE));
}

/* ---- memory slots ---- */

struct model_slot {
	uint64_t gpa;
	uint64_t size;
	uint64_t hva;
};

/* What the documentation says of KVM_SET_USER_MEMORY_REGION, by the simplest means. */
static int model_set(struct model_slot *slots, unsigned int count, unsigned int id, uint64_t gpa, uint64_t size,
		     uint64_t hva)
{
	unsigned int n;

	if ((gpa | size | hva) % PAGE || gpa + size < gpa || (size && gpa + size > 1ull << 48) || hva + size < hva ||
	    hva >> 63)
		return EINVAL;
	if (size && slots[id].size && (slots[id].size != size || slots[id].hva != hva))
		return EINVAL;
	if (!size && !slots[id].size)
		return EINVAL;
	for (n = 0; size && n < count; n++) {
		if (n != id && slots[n].size && gpa < slots[n].gpa + slots[n].size && slots[n].gpa < gpa + size)
			return EEXIST;
	}
	slots[id] = (struct model_slot){ gpa, size, hva };
	return 0;
}

TEST(random_slots, "random memory slots, overlapping, wrapping, moving and going: each as a model of them has it")
{
	static const uint8_t edges[] = { 36, 52, 56, 63, 48 };
	static struct model_slot model[12];
	struct vm *vm = vm_machine();
	unsigned int n, taken = 0;

	memset(model, 0, sizeof(model));
	model[0] = (struct model_slot){ 0, MEM_SIZE, (uintptr_t)vm->mem };
	for (n = 0; n < 3000; n++) {
		const unsigned int id = 1 + rnd() % (COUNT(model) - 1);
		uint64_t gpa = TOP + rnd() % 64 * PAGE, size = rnd() % 16 * PAGE, hva = (uintptr_t)vm->mem + rnd() % 64 * PAGE;
		int want, r;

		switch (rnd() % 24) {
		case 0:
			gpa = -(rnd() % 8 * PAGE);
			break;
		case 1:
			/* KVM's own limit is the processor's. */
			gpa = (1ull << edges[rnd() % (is_kvm() ? 4 : 5)]) - rnd() % 4 * PAGE;
			break;
		case 2:
			hva = -(rnd() % 8 * PAGE);
			break;
		case 3:
			gpa += rnd() % PAGE;
			break;
		case 4:
			size = model[id].size;
			hva = model[id].hva;
			break;
		}
		/* Which of two errors comes is not said: one is enough. */
		want = model_set(model, COUNT(model), id, gpa, size, hva);
		r = vm_slot(vm, id, gpa, size, (void *)hva, 0) ? errno : 0;
		taken += !r;
		if (!want == !r)
			continue;
		printf("#   slot %u at %#lx, %#lx bytes of %#lx: %s, expected %s\n", id, (long)gpa, (long)size, (long)hva,
		       strerror(r), strerror(want));
		test_fail(__FILE__, __LINE__, "a slot is not as the model has it", r);
		break;
	}
	printf("#   %u taken\n", taken);
	CHECK(taken > 100);
	CHECK(vm_works(vm));
}

/* ---- files ---- */

TEST(closed, "all files but the vCPU's are closed under a running guest, then that of the vCPU: it runs to its end")
{
	struct vm *vm = vm_counts();
	pthread_t thread;
	int spare = dup(vm->fd);
	void *result;

	REQUIRE(!pthread_create(&thread, NULL, vm_thread, vm));
	CHECK(vm_goes_on(vm));
	close(vm->fd);
	CHECK(vm_goes_on(vm));
	CHECK(!close(vm->vcpu[0]) && vm_goes_on(vm));
	/* Of a mapping alone nothing is left to run, and it still reads. */
	vm_stop(vm);
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, KVM_EXIT_IO);
	CHECK_EQ(vm->run[0]->exit_reason, KVM_EXIT_IO);
	vm->fd = spare;
	vm->vcpu[0] = dup(spare);
	CHECK_ERR(ioctl(vm->vcpu[0], KVM_RUN, 0), ENOTTY);
}

TEST(unmapped, "kvm_run is unmapped under a running guest, which goes on; then all of its memory, and KVM_RUN ends with EFAULT")
{
	struct vm *vm = vm_counts();
	pthread_t thread;
	void *result;

	REQUIRE(!pthread_create(&thread, NULL, vm_thread, vm));
	CHECK(vm_goes_on(vm));
	REQUIRE(!munmap(vm->run[0], vm->run_size));
	CHECK(vm_goes_on(vm));
	REQUIRE(!munmap(vm->mem, MEM_SIZE));
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, -EFAULT);
	REQUIRE(mmap(vm->mem, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == vm->mem);
	vm->run[0] = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu[0], 0);
	REQUIRE(vm->run[0] != MAP_FAILED);
	CHECK(vm_works(vm));
}

TEST(mappings, "a mapping of a vCPU has three pages: no more can be had, and what is grown into is SIGBUS")
{
	struct vm *vm = vm_machine();
	const size_t size = vm->run_size;
	int status;
	pid_t pid;
	void *p;

	/* Of KVM's, what is beyond is SIGBUS at once. */
	p = mmap(NULL, size + PAGE, PROT_READ, MAP_SHARED, vm->vcpu[0], 0);
	CHECK(p == MAP_FAILED || is_kvm());
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, vm->vcpu[0], size);
	CHECK(p == MAP_FAILED || is_kvm());
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, vm->vcpu[0], -PAGE);
	CHECK(p == MAP_FAILED);
	p = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, vm->fd, 0);
	CHECK(p == MAP_FAILED);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		volatile uint8_t *big = mremap(vm->run[0], size, size + 4 * PAGE, MREMAP_MAYMOVE);

		if (big == MAP_FAILED)
			raise(SIGBUS);
		(void)big[size - 1];
		(void)big[size + PAGE];
		_exit(0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	CHECK(vm_works(vm));
}

/* Is every command EIO? */
static int each_is_eio(struct vm *vm)
{
	static uint8_t arg[0x2000];
	unsigned int n;
	int bad = 0;

	for (n = 0; n < COUNT(commands); n++) {
		if (commands[n].target != NODE &&
		    (ioctl(fd_of(vm, commands[n].target), commands[n].cmd, arg) != -1 || errno != EIO))
			bad++;
	}
	bad += ioctl(vm->vcpu[0], KVM_RUN, 0) != -1 || errno != EIO;
	bad += ioctl(vm->fd, KVM_CREATE_VCPU, 3) != -1 || errno != EIO;
	return bad;
}

TEST(forked, "after fork, the child gets EIO everywhere, from the VM and from the vCPU, and the parent's guest runs on")
{
	struct vm *vm = vm_counts();
	pthread_t thread;
	void *result;
	int status;
	pid_t pid;

	REQUIRE(!pthread_create(&thread, NULL, vm_thread, vm));
	CHECK(vm_goes_on(vm));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		/* The guest's memory here is a copy. */
		vm_stop(vm);
		_exit(each_is_eio(vm));
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(vm_goes_on(vm));
	vm_stop(vm);
	pthread_join(thread, &result);
	CHECK_EQ((intptr_t)result, KVM_EXIT_IO);
	CHECK(vm_works(vm));
}

static void send_fds(int sock, int *fds, unsigned int count)
{
	char byte = 0, space[CMSG_SPACE(4 * sizeof(int))] = "";
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = CMSG_SPACE(count * 4) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	if (sendmsg(sock, &m, 0) != 1)
		_exit(9);
}

static bool recv_fds(int sock, int *fds, unsigned int count)
{
	char byte, space[CMSG_SPACE(4 * sizeof(int))];
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space) };
	struct cmsghdr *c;

	if (recvmsg(sock, &m, 0) != 1)
		return false;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_len != CMSG_LEN(count * sizeof(int)))
		return false;
	memcpy(fds, CMSG_DATA(c), count * sizeof(int));
	return true;
}

/* A process that makes a VM, hands it over, and is gone. */
static void giver(int sock)
{
	struct vm *vm = vm_counts();
	int fds[4] = { vm->fd, vm->vcpu[0], eventfd(0, 0), eventfd(0, 0) };
	struct kvm_irqfd irqfd = { .fd = fds[2], .resamplefd = fds[3], .gsi = 5, .flags = KVM_IRQFD_FLAG_RESAMPLE };
	pthread_t thread;

	if (ioctl(vm->fd, KVM_IRQFD, &irqfd) || pthread_create(&thread, NULL, vm_thread, vm) || !vm_goes_on(vm))
		_exit(8);
	send_fds(sock, fds, 4);
	pause();
}

TEST(passed, "files over a socket, whose owner is killed with its guest running: EIO; kvm_run maps, an irqfd is harmless")
{
	struct vm other = { .run_size = ioctl(dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0), .nvcpus = 1 };
	int sock[2], fds[4], status;
	uint64_t one = 1;
	struct kvm_run *run;
	pid_t pid;

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, sock));
	fflush(stdout);
	pid = fork();
	if (!pid)
		giver(sock[1]);
	REQUIRE(pid > 0 && recv_fds(sock[0], fds, 4));
	other.fd = fds[0];
	other.vcpu[0] = fds[1];
	CHECK_EQ(each_is_eio(&other), 0);
	run = mmap(NULL, other.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	REQUIRE(run != MAP_FAILED);
	kill(pid, SIGKILL);
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(each_is_eio(&other), 0);
	run->immediate_exit = 1;
	CHECK(write(fds[2], &one, 8) == 8);
	close(fds[0]);
	CHECK(write(fds[2], &one, 8) == 8);
	close(fds[1]);
	CHECK(write(fds[2], &one, 8) == 8);
	munmap(run, other.run_size);
	/* The last of the VM is gone: nobody reads the eventfd. */
	CHECK(write(fds[2], &one, 8) == 8 && read(fds[2], &one, 8) == 8 && one >= 1);
	close(fds[2]);
	close(fds[3]);
	close(sock[0]);
	close(sock[1]);
}
