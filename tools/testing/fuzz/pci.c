// SPDX-License-Identifier: GPL-2.0-only
/*
 * pci.c - configuration space by both ways in, BARs anywhere, MSI-X tables
 */
#include "tools/testing/unit/virtio-drv.h"
#include "fuzz.h"

#define STEPS	128

static void *rng, *host;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	vm = fake_vm(4 << 20);
	if (pci_host_device.init(vm, &host) || virtio_rng_device.init(vm, &rng))
		abort();
	pci = host;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	unsigned int i;

	for (i = 0; i < STEPS && input.left; i++) {
		uint8_t what = take_uint(&input, 1);
		unsigned int len = 1u << (what >> 3 & 3);
		uint64_t at;

		if (len == 8)
			len = 4;
		switch (what & 7) {
		case 0:
			out(vm, 0xcf8, take_uint(&input, 4), 4);
			break;
		case 1:
			out(vm, 0xcfc + (what >> 5 & (4 - len)), take_uint(&input, len), len);
			break;
		case 2:
			(void)in(vm, 0xcfc + (what >> 5 & (4 - len)), len);
			break;
		case 3:
			out(vm, 0xcf8 + (take_uint(&input, 1) & 7), take_uint(&input, len), len);
			break;
		case 4:
			cfg_set(vm, DEVFN, take_uint(&input, 1) & ~(len - 1), take_uint(&input, len), len);
			break;
		case 5:
			cfg_set(vm, take_uint(&input, 1), take_uint(&input, 1) & ~(len - 1), take_uint(&input, len), len);
			break;
		default:
			at = PCI_MMIO_BASE + (take_uint(&input, 4) & (0xffffffffu - PCI_MMIO_BASE)) / len * len;
			if (what & 0x80)
				mmio_write(vm, at, take_uint(&input, len), len);
			else
				mmio_read(vm, at, len);
		}
	}
	pthread_mutex_lock(&vm->lock);
	pci_host_device.reset(vm, pci);
	pthread_mutex_unlock(&vm->lock);
	return 0;
}
