// SPDX-License-Identifier: GPL-2.0-only
/*
 * races.c - callers that do several things at once, or too many of them
 *
 * See hostile.c for what is to come of it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>

#include "harness.h"

#define PAGE	0x1000ul

/* ---- at the same time ---- */

/* 3,000 times: a port read, a port written, a device read, a device written; the sum of what was read in RBX. */
ASM64(talk, "mov $3000, %ecx; xor %ebx, %ebx; xor %edx, %edx; mov $0xc0000000, %esi;"
	    "1: in $0x70, %al; movzx %al, %eax; add %rax, %rbx; mov %cl, %al; out %al, $0x71;"
	    "add (%rsi), %rbx; mov %rcx, 8(%rsi); loop 1b; hlt");

static void on_signal(int sig)
{
	(void)sig;
}

TEST(signals, "signals at every point of KVM_RUN: each port and device access comes once, with its data")
{
	struct sigaction action = { .sa_handler = on_signal };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, talk);
	struct itimerspec when = { 0 };
	uint64_t in = 0, sum = 0, outs = 0, writes = 0, signals = 0;
	struct kvm_run *run = vm->run[0];
	struct kvm_regs regs;
	timer_t timer;
	int r;

	REQUIRE(!sigaction(SIGUSR1, &action, NULL));
	REQUIRE(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	while ((r = vm_run(vm, 0)) != KVM_EXIT_HLT) {
		/* Soon, and each time a little later. */
		when.it_value.tv_nsec = 1000 + (signals + outs) * 37 % 50000;
		timer_settime(timer, 0, &when, NULL);
		if (r == -EINTR) {
			signals++;
		} else if (r == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN) {
			((uint8_t *)run)[run->io.data_offset] = ++in;
			sum += in & 0xff;
		} else if (r == KVM_EXIT_IO) {
			CHECK_EQ(((uint8_t *)run)[run->io.data_offset], (3000 - outs) & 0xff);
			outs++;
		} else if (r == KVM_EXIT_MMIO && run->mmio.is_write) {
			CHECK_EQ(run->mmio.data[0], (3000 - writes) & 0xff);
			writes++;
		} else if (r == KVM_EXIT_MMIO) {
			memcpy(run->mmio.data, &in, 8);
			sum += in;
		} else {
			break;
		}
	}
	timer_delete(timer);
	printf("#   %ld signals\n", (long)signals);
	CHECK_EQ(r, KVM_EXIT_HLT);
	vm_regs(vm, 0, &regs);
	CHECK_EQ(regs.rbx, sum);
	CHECK(in == 3000 && outs == 3000 && writes == 3000);
	CHECK(signals > 100);
}

static _Atomic bool stop;

static void *scribbler(void *arg)
{
	const size_t words = ioctl(dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0) / 8;
	uint64_t *page = arg, n = 0x9e3779b97f4a7c15;
	struct kvm_run *run = arg;

	while (!stop) {
		/* With these, no guest would run. */
		run->kvm_valid_regs = run->kvm_dirty_regs = 0;
		run->immediate_exit = n >> 62 == 0;
		n = n * 6364136223846793005 + 1442695040888963407;
		/* The ring's indices and what stands at the beginning of kvm_run more often than the rest. */
		page[n >> 60 < 8 ? (n >> 32) % 16 : n >> 60 < 11 ? 1024 : (n >> 32) % words] = n >> 63 ? n : n % 257;
	}
	return NULL;
}

/* String I/O both ways, ports and devices, interrupts; coalesced writes to 0xc0002000. It goes on until 0x9108 is set. */
ASM64(busy, "mov $0xc0000000, %esi; 1: in $0x70, %eax; out %eax, $0x71; mov (%rsi), %rbx; mov %rbx, 8(%rsi);"
	    "add %bl, 0x1000(%rsi); mov %ebx, 0x2000(%rsi); mov $64, %ecx; mov $0x20000, %edi; mov $0x73, %dx; rep insb;"
	    "push %rsi; mov $64, %ecx; mov $0x20000, %esi; rep outsb; pop %rsi; cpuid; incq 0x9100; cmpb $0, 0x9108; je 1b;"
	    "mov $0xc0000000, %esi; movq $0x600d, 0x9110; 2: hlt; jmp 2b");

TEST(rewritten, "another thread writes all over kvm_run, data and ring during KVM_RUN: the guest comes to its end all the same")
{
	struct kvm_coalesced_mmio_zone zone = { .addr = HOLE + 0x2000, .size = 8 };
	const uint64_t end = now_ns() + 1500000000;
	struct vm *vm = GUEST(CHIPS_NONE, MODE_64, busy);
	unsigned int runs = 0, refused = 0;
	pthread_t thread;
	int r = 0;

	REQUIRE(!ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone));
	stop = false;
	REQUIRE(!pthread_create(&thread, NULL, scribbler, vm->run[0]));
	/* The reason of an exit is nobody knows whose. */
	while (now_ns() < end && (!r || errno == EINVAL || errno == EINTR)) {
		r = ioctl(vm->vcpu[0], KVM_RUN, 0);
		runs += !r;
		refused += !!r;
	}
	CHECK(!r || errno == EINVAL || errno == EINTR);
	stop = true;
	pthread_join(thread, NULL);
	memset(vm->run[0], 0, vm->run_size);
	printf("#   %u exits, %u runs refused, the guest %ld times round\n", runs, refused, (long)vm_counter(vm));
	CHECK(runs > 100);
	vm_stop(vm);
	do {
		r = vm_run(vm, 0);
	} while (r == KVM_EXIT_IO || r == KVM_EXIT_MMIO);
	CHECK_EQ(r, KVM_EXIT_HLT);
	CHECK_EQ(*(uint64_t *)(vm->mem + DATA + 0x110), 0x600d);
	CHECK(vm_works(vm));
}

/* Threads that do one thing each, again and again, until stop; what they return is theirs. */
static unsigned int race(struct vm *vm, void *(*const *fn)(void *), unsigned int count, unsigned int ms)
{
	pthread_t thread[8];
	unsigned int n;

	REQUIRE(count <= COUNT(thread));
	stop = false;
	for (n = 0; n < count; n++)
		REQUIRE(!pthread_create(&thread[n], NULL, fn[n], vm));
	usleep(ms * 1000);
	stop = true;
	for (n = 0; n < count; n++)
		pthread_join(thread[n], NULL);
	return count;
}

static _Atomic unsigned int made, there;

static void *make_vcpu(void *arg)
{
	struct vm *vm = arg;

	while (!stop) {
		int fd = ioctl(vm->fd, KVM_CREATE_VCPU, 1 + made % 64);

		if (fd >= 0)
			made++;
		else if (errno == EEXIST)
			there++;
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

static void *make_chips(void *vm)
{
	return (void *)(intptr_t)!ioctl(((struct vm *)vm)->fd, KVM_CREATE_IRQCHIP);
}

TEST(race_vcpus, "vCPUs of the same number, made by several threads: one gets it; the interrupt controllers are made once")
{
	static void *(*const makers[])(void *) = { make_vcpu, make_vcpu, make_vcpu, make_vcpu };
	struct vm *vm = vm_machine();
	unsigned int n, k, chips = 0;
	pthread_t thread[3];
	void *result;

	made = there = 0;
	race(vm, makers, COUNT(makers), 300);
	printf("#   %u made, %u times there\n", made, there);
	CHECK(made >= 1 && made <= 64);
	CHECK(vm_works(vm));
	for (n = 0; n < 20; n++) {
		struct vm *other = vm_new(CHIPS_NONE);

		for (k = 0; k < COUNT(thread); k++)
			REQUIRE(!pthread_create(&thread[k], NULL, make_chips, other));
		for (k = 0; k < COUNT(thread); k++) {
			pthread_join(thread[k], &result);
			chips += (bool)result;
		}
		vm_free(other);
	}
	CHECK_EQ(chips, 20);
}

static _Atomic int the_event = -1;

static void *irqfds(void *arg)
{
	struct vm *vm = arg;

	while (!stop) {
		struct kvm_irqfd a = { .fd = the_event, .gsi = 4 + made++ % 3 };

		ioctl(vm->fd, KVM_IRQFD, &a);
		a.flags = KVM_IRQFD_FLAG_DEASSIGN;
		ioctl(vm->fd, KVM_IRQFD, &a);
	}
	return NULL;
}

static void *events(void *arg)
{
	uint64_t one = 1;
	int fd;

	(void)arg;
	while (!stop) {
		/* Closed while an irqfd may hang on it. */
		fd = eventfd(0, EFD_NONBLOCK);
		the_event = fd;
		for (unsigned int n = 0; n < 20; n++) {
			if (write(fd, &one, 8) != 8)
				break;
		}
		close(fd);
	}
	return NULL;
}

static void *routes(void *arg)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[3];
	} r = { .head.nr = 3 };
	struct vm *vm = arg;
	unsigned int n, round = 0;

	while (!stop) {
		for (n = 0; n < 3; n++) {
			r.entry[n].gsi = 4 + n;
			r.entry[n].type = (n + round) % 2 ? KVM_IRQ_ROUTING_MSI : KVM_IRQ_ROUTING_IRQCHIP;
			if ((n + round) % 2)
				r.entry[n].u.msi = (struct kvm_irq_routing_msi){ .address_lo = 0xfee00000, .data = 0x40 + n };
			else
				r.entry[n].u.irqchip = (struct kvm_irq_routing_irqchip){ .irqchip = 2, .pin = 4 + n };
		}
		ioctl(vm->fd, KVM_SET_GSI_ROUTING, &r);
		round++;
	}
	return NULL;
}

static void *lines(void *arg)
{
	struct vm *vm = arg;
	unsigned int n;

	for (n = 0; !stop; n++)
		vm_irq_line(vm, 4 + n % 3, n / 3 % 2);
	return NULL;
}

static void *slots(void *arg)
{
	uint8_t bitmap[MEM_SIZE / PAGE / 8];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	struct vm *vm = arg;
	unsigned int n;

	for (n = 0; !stop; n++) {
		vm_slot(vm, 1, 0x40000000 + n % 2 * PAGE, PAGE * 16, vm->mem + FREE, n & 4 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
		vm_slot(vm, 1, 0x40000000, 0, vm->mem + FREE, 0);
	}
	return NULL;
}

static void *runs(void *arg)
{
	struct vm *vm = arg;

	/* The other threads of its kind wait for the vCPU meanwhile. */
	while (!stop)
		vm_run_for(vm, 0, 3);
	return NULL;
}

static void *regs(void *arg)
{
	struct vm *vm = arg;
	struct kvm_lapic_state lapic;
	struct kvm_sregs s;
	struct kvm_irqchip chip;

	while (!stop) {
		ioctl(vm->vcpu[0], KVM_GET_SREGS, &s);
		ioctl(vm->vcpu[0], KVM_GET_LAPIC, &lapic);
		ioctl(vm->vcpu[0], KVM_SET_LAPIC, &lapic);
		chip.chip_id = 2;
		ioctl(vm->fd, KVM_GET_IRQCHIP, &chip);
		ioctl(vm->fd, KVM_SET_IRQCHIP, &chip);
	}
	return NULL;
}

ASM64(touches, "sti; 1: mov $0x40000000, %ebx; 2: incq (%rbx); incq 0x9100; add $0x1000, %rbx; cmp $0x40010000, %rbx; jb 2b;"
	       "cmpb $0, 0x9108; je 1b;" SAY(1) IDLE);

TEST(race_ioctls, "slots, dirty log, routes, lines, irqfds, their files closed, state read and written, all under KVM_RUN")
{
	static void *(*const all[])(void *) = { runs, regs, slots, routes, lines, irqfds, events, make_vcpu };
	struct vm *vm = vm_machine();

	made = there = 0;
	VM_CODE(vm, 0, MODE_64, touches);
	/* The handlers say their vectors: each is an exit that vm_run_for() takes. */
	race(vm, all, COUNT(all), 2000);
	the_event = -1;
	/* An access that is not finished yet may be two. */
	vm->run[0]->immediate_exit = 1;
	while (vm_run(vm, 0) == KVM_EXIT_MMIO)
		;
	vm->run[0]->immediate_exit = 0;
	CHECK(vm_works(vm));
}

TEST(race_run, "KVM_RUN of one vCPU by several threads: one at a time, and each comes out when the one before it has")
{
	struct vm *vm = vm_counts();
	struct sigaction action = { .sa_handler = on_signal };
	unsigned int n, left = 0xf, said = 0;
	pthread_t thread[4];
	void *result;

	REQUIRE(!sigaction(SIGUSR1, &action, NULL));
	for (n = 0; n < COUNT(thread); n++)
		REQUIRE(!pthread_create(&thread[n], NULL, vm_thread, vm));
	CHECK(vm_goes_on(vm));
	vm_stop(vm);
	/* The first one out has what the guest says; the others would halt. */
	usleep(50000);
	vm->run[0]->immediate_exit = 1;
	while (left) {
		/* One of them halts, with the others waiting for it. */
		for (n = 0; n < COUNT(thread); n++) {
			if (!(left >> n & 1))
				continue;
			pthread_kill(thread[n], SIGUSR1);
			if (pthread_tryjoin_np(thread[n], &result))
				continue;
			left &= ~(1u << n);
			said += (intptr_t)result == KVM_EXIT_IO;
			CHECK((intptr_t)result == KVM_EXIT_IO || (intptr_t)result == -EINTR);
		}
		usleep(1000);
	}
	vm->run[0]->immediate_exit = 0;
	CHECK_EQ(said, 1);
	CHECK(vm_works(vm));
}

/* ---- limits ---- */

TEST(many_slots, "KVM_CAP_NR_MEMSLOTS slots, and the guest reads the last; one more is refused")
{
	const unsigned int max = has_cap(KVM_CAP_NR_MEMSLOTS);
	struct vm *vm = vm_machine();
	unsigned int n;

	for (n = 1; n < max && n < 1000; n++) {
		if (vm_slot(vm, n, 0x40000000ull + n * 2 * PAGE, PAGE, vm->mem + FREE + n % 16 * PAGE, 0))
			break;
	}
	CHECK_EQ(n, max < 1000 ? max : 1000);
	CHECK_ERR(vm_slot(vm, max, 0x80000000, PAGE, vm->mem, 0), EINVAL);
	*(uint32_t *)(vm->mem + FREE + (n - 1) % 16 * PAGE) = 0x1234567;
	vm_script(vm, 0, STEPS(LOAD(0x40000000 + (n - 1) * 2 * PAGE)));
	CHECK(vm_says(vm, 0, DONE));
	CHECK_EQ(vm_step(vm, 0, 0)->value, 0x1234567);
}

TEST(many_routes, "KVM_CAP_IRQ_ROUTING routes, and the last one works; one more is refused")
{
	const unsigned int max = has_cap(KVM_CAP_IRQ_ROUTING);
	struct kvm_irq_routing *r = calloc(1, sizeof(*r) + (max + 1) * sizeof(r->entries[0]));
	struct vm *vm = vm_machine();
	unsigned int n;

	for (n = 0; n <= max; n++) {
		r->entries[n].gsi = n;
		r->entries[n].type = KVM_IRQ_ROUTING_MSI;
		r->entries[n].u.msi.address_lo = 0xfee00000;
		r->entries[n].u.msi.data = 0x41;
	}
	r->nr = max + 1;
	CHECK_ERR(ioctl(vm->fd, KVM_SET_GSI_ROUTING, r), EINVAL);
	r->nr = max;
	CHECK(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, r));
	vm_script(vm, 0, STEPS(X2APIC_ON, SAYS(2), STI()));
	REQUIRE(vm_says(vm, 0, 2));
	CHECK(!vm_irq_line(vm, max - 1, 1));
	CHECK(vm_says(vm, 0, 0x41));
	free(r);
}

TEST(many_events, "ioeventfds and coalesced zones end with ENOSPC, irqfds as well; what was taken is given back")
{
	struct kvm_coalesced_mmio_zone zone = { .addr = HOLE, .size = 8 };
	struct kvm_ioeventfd io = { .addr = HOLE + 0x100000, .len = 4, .fd = eventfd(0, 0) };
	struct kvm_irqfd irq = { .gsi = 5 };
	struct rlimit limit = { 6000, 6000 };
	struct vm *vm = vm_machine();
	static int fds[6000];
	unsigned int n, k;

	for (n = 0; n < 2000 && !ioctl(vm->fd, KVM_IOEVENTFD, &io); n++)
		io.addr += 8;
	/* Of KVM's there is no end. */
	if (!is_kvm()) {
		CHECK_EQ(n, 1000);
		CHECK_EQ(errno, ENOSPC);
		CHECK_ERR(ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone), ENOSPC);
	}
	for (k = 0; k < n; k++) {
		io.addr -= 8;
		io.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
		CHECK(!ioctl(vm->fd, KVM_IOEVENTFD, &io));
	}
	CHECK(!ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone));

	REQUIRE(!setrlimit(RLIMIT_NOFILE, &limit));
	for (n = 0; n < 4100; n++) {
		fds[n] = irq.fd = eventfd(0, EFD_CLOEXEC);
		if (fds[n] < 0 || ioctl(vm->fd, KVM_IRQFD, &irq))
			break;
	}
	if (!is_kvm()) {
		CHECK_EQ(n, 4096);
		CHECK_EQ(errno, ENOSPC);
	}
	for (k = 0; k < n; k++)
		close(fds[k]);
	close(fds[n]);
	for (k = 0; k < 100; k++) {
		irq.fd = eventfd(0, EFD_CLOEXEC);
		if (!ioctl(vm->fd, KVM_IRQFD, &irq))
			break;
		/* They go in a worker. */
		close(irq.fd);
		usleep(10000);
	}
	CHECK(k < 100);
	close(irq.fd);
	close(io.fd);
	CHECK(vm_works(vm));
}

TEST(no_files, "without a descriptor left, VMs and vCPUs are EMFILE, and nothing of them is left behind")
{
	struct rlimit limit, none;
	struct vm *vm = vm_machine();
	unsigned int n;

	REQUIRE(!getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 3;
	REQUIRE(!setrlimit(RLIMIT_NOFILE, &none));
	for (n = 0; n < 300; n++) {
		CHECK_ERR(ioctl(vm->fd, KVM_CREATE_VCPU, 1), EMFILE);
		CHECK_ERR(ioctl(dev_fd, KVM_CREATE_VM, 0), EMFILE);
	}
	REQUIRE(!setrlimit(RLIMIT_NOFILE, &limit));
	CHECK(vm_add_vcpu(vm) == 1);
	CHECK(vm_works(vm));
}
