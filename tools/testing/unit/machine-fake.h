/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * machine-fake.h - a machine without a CPU: RAM, buses, and a back end that records interrupts
 */
#ifndef TENON_MACHINE_FAKE_H
#define TENON_MACHINE_FAKE_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "launcher/machine/machine.h"
#include "launcher/machine/pc.h"
#include "launcher/machine/pci-host.h"
#include "launcher/vm.h"
#include "tap.h"

static struct {
	atomic_bool line[32];
	atomic_uint msi_count;
	_Atomic uint64_t msi_addr;
	_Atomic uint32_t msi_data;
} fake;

static void fake_irq_line(struct vm *vm, unsigned int gsi, bool level)
{
	(void)vm;
	if (gsi < 32)
		atomic_store(&fake.line[gsi], level);
}

static void fake_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	(void)vm;
	atomic_store(&fake.msi_addr, addr);
	atomic_store(&fake.msi_data, data);
	atomic_fetch_add(&fake.msi_count, 1);
}

/* Maps end at pages now and then, as a back end's may. */
static void *fake_dma_map(struct vm *vm, uint64_t gpa, uint64_t *len, bool write)
{
	unsigned int i;

	(void)write;
	for (i = 0; i < vm->nr_ram; i++) {
		uint64_t off = gpa - vm->ram[i].gpa;

		if (gpa < vm->ram[i].gpa || off >= vm->ram[i].size)
			continue;
		if (*len > vm->ram[i].size - off)
			*len = vm->ram[i].size - off;
		return (char *)vm->ram[i].host + off;
	}
	return NULL;
}

static void fake_dma_unmap(struct vm *vm, uint64_t gpa, uint64_t len, bool write)
{
	(void)vm;
	(void)gpa;
	(void)len;
	(void)write;
}

static const struct accel_ops fake_accel = {
	.name = "fake",
	.summary = "no CPU at all",
	.irq_line = fake_irq_line,
	.msi = fake_msi,
	.dma_map = fake_dma_map,
	.dma_unmap = fake_dma_unmap,
};

static inline struct vm *fake_vm(uint64_t memory)
{
	uint64_t low = memory < PCI_MMIO_BASE ? memory : PCI_MMIO_BASE;
	struct vm *vm = calloc(1, sizeof(*vm));
	char *host = mmap(NULL, memory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			  -1, 0);

	if (!vm || host == MAP_FAILED)
		abort();
	vm->config.accel = &fake_accel;
	vm->config.memory = memory;
	vm->config.cpus = 1;
	vm->config.debug_exit_port = -1;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->run_lock, NULL);
	atomic_init(&vm->end, VM_RUNNING);
	bus_init(&vm->pio, true);
	bus_init(&vm->mmio, false);
	if (loop_init(&vm->loop, &vm->lock))
		abort();
	vm->ram[0] = (struct vm_ram){ .size = low, .host = host };
	vm->nr_ram = 1;
	if (memory > low)
		vm->ram[vm->nr_ram++] = (struct vm_ram){ 1ull << 32, memory - low, host + low };
	memset(&fake, 0, sizeof(fake));
	return vm;
}

static inline void fake_vm_exit(struct vm *vm)
{
	munmap(vm->ram[0].host, vm->config.memory);
	loop_exit(&vm->loop);
	bus_exit(&vm->mmio);
	bus_exit(&vm->pio);
	free(vm);
}

static inline void fake_leave_loop(void *opaque)
{
	atomic_store((atomic_int *)opaque, 1);
}

/* What is due within that time happens, by the loop as in a machine; 0 if a device asked for a reset or an end. */
static inline int fake_pass(struct vm *vm, unsigned int us)
{
	struct timer t;

	timer_init(&t, fake_leave_loop, &vm->stop);
	atomic_store(&vm->stop, -1);
	timer_set(&vm->loop, &t, clock_ns() + us * 1000ull);
	loop_run(&vm->loop, &vm->stop);
	timer_set(&vm->loop, &t, TIMER_OFF);
	return atomic_load(&vm->stop);
}

/* Port and memory accesses as a vCPU makes them. */
static inline uint32_t in(struct vm *vm, uint16_t port, unsigned int len)
{
	uint32_t val = 0;

	bus_access(vm, &vm->pio, port, &val, len, false);
	return val;
}

static inline void out(struct vm *vm, uint16_t port, uint32_t val, unsigned int len)
{
	bus_access(vm, &vm->pio, port, &val, len, true);
}

static inline uint64_t mmio_read(struct vm *vm, uint64_t addr, unsigned int len)
{
	uint64_t val = 0;

	bus_access(vm, &vm->mmio, addr, &val, len, false);
	return val;
}

static inline void mmio_write(struct vm *vm, uint64_t addr, uint64_t val, unsigned int len)
{
	bus_access(vm, &vm->mmio, addr, &val, len, true);
}

static inline uint32_t cfg_get(struct vm *vm, uint8_t devfn, uint8_t reg, unsigned int len)
{
	out(vm, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc), 4);
	return in(vm, 0xcfc + (reg & 3), len);
}

static inline void cfg_set(struct vm *vm, uint8_t devfn, uint8_t reg, uint32_t val, unsigned int len)
{
	out(vm, 0xcf8, 0x80000000u | devfn << 8 | (reg & 0xfc), 4);
	out(vm, 0xcfc + (reg & 3), val, len);
}

/* Messages of expected failures would drown the results (VERBOSE=1 in the environment shows them). */
static inline void quiet(bool on)
{
	static int saved = -1;
	int null;

	if (getenv("VERBOSE"))
		return;
	fflush(stderr);
	if (on && saved < 0) {
		saved = dup(2);
		null = open("/dev/null", O_WRONLY);
		dup2(null, 2);
		close(null);
	} else if (!on && saved >= 0) {
		dup2(saved, 2);
		close(saved);
		saved = -1;
	}
}

#endif /* TENON_MACHINE_FAKE_H */
