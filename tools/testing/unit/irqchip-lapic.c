// SPDX-License-Identifier: GPL-2.0-only
/*
 * irqchip-lapic.c - the local APIC, the bus between several, and the timer
 *
 * Oracle: Intel SDM vol. 3 "Advanced Programmable Interrupt Controller (APIC)" (section titles in the test
 * names), and the sequences of Linux's apic.c and io_apic.c. All of it twice: what is accepted waits in the page, and
 * what is accepted waits beside it until it is collected.
 */
#include "../../../emul/irqchip/ioapic.h"
#include "../../../emul/irqchip/lapic.h"
#include "../../../emul/irqchip/pic.h"
#include "tap.h"

#define NR_CPUS		4
#define ALL_FEATURES	(LAPIC_FEATURE_X2APIC | LAPIC_FEATURE_TSC_DEADLINE | LAPIC_FEATURE_NO_EOI_BCAST)

struct cpu {
	struct lapic apic;
	struct lapic_page page;
	u32 posted[8];
	unsigned int kicks, nmis, inits, sipis, smis, rearms;
	u8 sipi_vector;
};

static struct cpu cpus[NR_CPUS];
static struct lapic *apics[NR_CPUS];
static struct ioapic ioapic;
static unsigned int broadcasts;
static int last_ret;
static bool posting;

static void kick(void *ctx)
{
	((struct cpu *)ctx)->kicks++;
}

static void send_ipi(void *ctx, const struct irq_msg *msg)
{
	last_ret = lapic_deliver(apics, NR_CPUS, &((struct cpu *)ctx)->apic, msg);
}

static void nmi(void *ctx)
{
	((struct cpu *)ctx)->nmis++;
}

static void init(void *ctx)
{
	((struct cpu *)ctx)->inits++;
}

static void sipi(void *ctx, u8 vector)
{
	((struct cpu *)ctx)->sipis++;
	((struct cpu *)ctx)->sipi_vector = vector;
}

static void smi(void *ctx)
{
	((struct cpu *)ctx)->smis++;
}

static void eoi(void *ctx, u8 vector)
{
	(void)ctx;
	broadcasts++;
	ioapic_eoi(&ioapic, vector);
}

static void rearm(void *ctx)
{
	((struct cpu *)ctx)->rearms++;
}

static const struct lapic_ops ops = {
	.kick = kick,
	.send = send_ipi,
	.nmi = nmi,
	.init = init,
	.sipi = sipi,
	.smi = smi,
	.eoi = eoi,
	.rearm = rearm,
	.post = kick,
};

static int ioapic_deliver(void *ctx, const struct irq_msg *msg)
{
	(void)ctx;
	return lapic_deliver(apics, NR_CPUS, NULL, msg);
}

static const struct ioapic_ops ioapic_ops = { .deliver = ioapic_deliver };

static void wr(unsigned int n, u32 reg, u32 value)
{
	lapic_write(&cpus[n].apic, reg, 4, value, 0);
}

static u32 rd(unsigned int n, u32 reg)
{
	lapic_collect(&cpus[n].apic);
	return lapic_read(&cpus[n].apic, reg, 4, 0);
}

static int wrmsr(unsigned int n, u32 reg, u64 value)
{
	return lapic_msr_write(&cpus[n].apic, 0x800 + (reg >> 4), value, 0);
}

/* All faults read as this. */
#define FAULT	0xdeadfa17ull

static u64 rdmsr(unsigned int n, u32 reg)
{
	u64 value;

	return lapic_msr_read(&cpus[n].apic, 0x800 + (reg >> 4), &value, 0) ? FAULT : value;
}

static void fresh(u32 features)
{
	unsigned int n;

	memset(cpus, 0, sizeof(cpus));
	for (n = 0; n < NR_CPUS; n++) {
		const struct lapic_config config = {
			.id = n, .features = features, .bsp = n == 0, .phys_bits = 40,
			.posted = posting ? cpus[n].posted : NULL,
		};

		apics[n] = &cpus[n].apic;
		lapic_init(&cpus[n].apic, &cpus[n].page, &config, &ops, &cpus[n]);
	}
	ioapic_init(&ioapic, IOAPIC_VERSION_EOI, &ioapic_ops, NULL);
	broadcasts = 0;
}

/* Software-enabled, flat logical IDs 1, 2, 4, 8. */
static void running(u32 features)
{
	unsigned int n;

	fresh(features);
	for (n = 0; n < NR_CPUS; n++) {
		wr(n, LAPIC_SVR, 0x1ff);
		wr(n, LAPIC_LDR, 1u << (24 + n));
		cpus[n].kicks = 0;
	}
}

static void x2apic_on(unsigned int n)
{
	struct lapic *apic = &cpus[n].apic;

	lapic_set_base(apic, apic->base | LAPIC_BASE_X2APIC, false);
}

static int inject(unsigned int n, u8 vector, bool level)
{
	const struct irq_msg msg = { .dest = n, .vector = vector, .level = level };

	return lapic_deliver(apics, NR_CPUS, NULL, &msg);
}

static void test_reset(void)
{
	fresh(LAPIC_FEATURE_X2APIC);
	is_u64(cpus[0].apic.base, 0xfee00900, "IA32_APIC_BASE: enabled, BSP");
	is_u64(cpus[1].apic.base, 0xfee00800, "IA32_APIC_BASE of another");
	is_u64(rd(2, LAPIC_ID), 0x02000000, "Local APIC ID Register");
	is_u64(rd(0, LAPIC_VERSION), 0x00050014, "Local APIC Version Register: 0x14, 6 LVT entries");
	is_u64(rd(0, LAPIC_SVR), 0xff, "Power-Up: SVR");
	is_u64(rd(0, LAPIC_DFR), 0xffffffff, "Power-Up: DFR");
	is_u64(rd(0, LAPIC_LVT_LINT0), 0x10000, "Power-Up: LVT entries are masked");
	is_u64(rd(0, LAPIC_TPR) | rd(0, LAPIC_LDR) | rd(0, LAPIC_ESR) | rd(0, LAPIC_ICR), 0,
	       "Power-Up: the rest is zero");
	wr(0, LAPIC_LVT_LINT0, 0x700);
	is_u64(rd(0, LAPIC_LVT_LINT0), 0x10700, "software-disabled, the mask bits cannot be cleared");
	wr(0, LAPIC_SVR, 0x1ff);
	wr(0, LAPIC_LVT_LINT0, 0x700);
	is_u64(rd(0, LAPIC_LVT_LINT0), 0x700, "enabled, they can");
	wr(0, LAPIC_SVR, 0xff);
	is_u64(rd(0, LAPIC_LVT_LINT0), 0x10700, "disabling sets them");
	wr(0, LAPIC_VERSION, 0);
	is_u64(rd(0, LAPIC_VERSION), 0x00050014, "the version is read only");
	wr(0, LAPIC_TPR, 0x3ff);
	is_u64(rd(0, LAPIC_TPR), 0xff, "TPR has 8 bits");
	lapic_write(&cpus[0].apic, LAPIC_TPR, 1, 0, 0);
	is_u64(rd(0, LAPIC_TPR), 0xff, "a byte write is ignored");
	is_u64(lapic_read(&cpus[0].apic, LAPIC_VERSION + 2, 1, 0), 5, "a byte read finds its byte");
	is_u64(lapic_read(&cpus[0].apic, LAPIC_VERSION + 8, 4, 0), 0, "beyond the 32 bits there is nothing");
	fresh(LAPIC_FEATURE_VIRTUAL_WIRE | LAPIC_FEATURE_NO_EOI_BCAST);
	ok(lapic_accepts_pic(&cpus[0].apic) && !lapic_accepts_pic(&cpus[1].apic),
	   "virtual wire: the BSP takes the PIC");
	is_u64(rd(0, LAPIC_VERSION), 0x01050014, "Version: bit 24 with EOI-broadcast suppression");
}

static void test_priority(void)
{
	struct lapic *apic = &cpus[0].apic;

	running(0);
	is_u64(inject(0, 0x31, false), 1, "a fixed interrupt is accepted");
	is_u64((u64)inject(0, 0x31, false), IRQ_COALESCED, "a second one coalesces");
	ok(cpus[0].kicks == 1 && lapic_pending_vector(apic) == 0x31, "the processor is told");
	inject(0, 0x55, false);
	is_u64(lapic_ack(apic), 0x55, "the highest vector first");
	is_u64(rd(0, LAPIC_ISR + 0x20), 1u << 0x15, "which is in service");
	is_u64(rd(0, LAPIC_PPR), 0x50, "Processor Priority: the class in service");
	ok(lapic_pending_vector(apic) < 0, "a lower class waits");
	inject(0, 0x5f, false);
	ok(lapic_pending_vector(apic) < 0, "the same class waits");
	inject(0, 0x60, false);
	is_u64(lapic_ack(apic), 0x60, "a higher one nests");
	wr(0, LAPIC_EOI, 0);
	is_u64(rd(0, LAPIC_PPR), 0x50, "EOI ends the highest in service");
	is_u64((u64)lapic_eoi(apic), 0x55, "then the next");
	lapic_set_tpr(apic, 0x5a);
	is_u64(rd(0, LAPIC_PPR), 0x5a, "Processor Priority: TPR, if its class is as high");
	is_u64((u64)lapic_ack(apic), 0xff, "nothing above: the spurious vector");
	is_u64(rd(0, LAPIC_ISR + 0x70), 0, "which is not in service");
	cpus[0].kicks = 0;
	lapic_set_tpr(apic, 0x40);
	ok(cpus[0].kicks == 1 && lapic_pending_vector(apic) == 0x5f, "lowering the TPR lets it through");
	wr(0, LAPIC_SVR, 0xff);
	is_u64((u64)inject(0, 0x80, false), (u64)IRQ_NOT_DELIVERED, "software-disabled: nothing is accepted");
	is_u64((u64)lapic_pending_vector(apic), 0x5f, "what is pending stays pending");
	is_u64((u64)lapic_eoi(apic), (u64)-1, "EOI with nothing in service is harmless");
}

static void test_errors(void)
{
	running(0);
	wr(0, LAPIC_LVT_ERROR, 0xfe);
	is_u64((u64)inject(0, 15, false), (u64)IRQ_NOT_DELIVERED, "vectors below 16 are not accepted");
	is_u64((u64)lapic_pending_vector(&cpus[0].apic), 0xfe, "Error Handling: the error interrupt comes");
	is_u64(rd(0, LAPIC_ESR), 0, "ESR shows it only after a write");
	wr(0, LAPIC_ICR, 0x4000 | 5);
	rd(0, 0x040);
	wr(0, LAPIC_ESR, 0);
	is_u64(rd(0, LAPIC_ESR), 0xe0, "received and sent illegal vector, illegal register");
	wr(0, LAPIC_ESR, 0);
	is_u64(rd(0, LAPIC_ESR), 0, "the next write clears it");
	wr(0, LAPIC_LVT_ERROR, 0x00);
	rd(0, 0xff0);
	wr(0, LAPIC_ESR, 0);
	is_u64(rd(0, LAPIC_ESR), 0xc0, "an illegal vector in LVT error is one more error, and no loop");
}

static void test_levels(void)
{
	struct lapic *apic = &cpus[1].apic;

	running(LAPIC_FEATURE_NO_EOI_BCAST);
	ioapic_write(&ioapic, IOAPIC_REGSEL, IOAPIC_REG_REDIR(9) + 1);
	ioapic_write(&ioapic, IOAPIC_WIN, 0x01000000);
	ioapic_write(&ioapic, IOAPIC_REGSEL, IOAPIC_REG_REDIR(9));
	ioapic_write(&ioapic, IOAPIC_WIN, 0x8061);
	is_u64(ioapic_set_pin(&ioapic, 9, true), 1, "a level travels from the IOAPIC");
	is_u64(rd(1, LAPIC_TMR + 0x30), 2, "TMR is set");
	lapic_ack(apic);
	lapic_eoi(apic);
	ok(broadcasts == 1 && lapic_pending_vector(apic) == 0x61,
	   "EOI is broadcast, and the level comes again");
	ioapic_set_pin(&ioapic, 9, false);
	wr(1, LAPIC_SVR, 0x11ff);
	lapic_ack(apic);
	lapic_eoi(apic);
	ok(broadcasts == 1 && (ioapic.redir[9] & IOAPIC_RTE_REMOTE_IRR), "the broadcast can be suppressed");
	ioapic_write(&ioapic, IOAPIC_EOI, 0x61);
	ok(!(ioapic.redir[9] & IOAPIC_RTE_REMOTE_IRR), "and be replaced by the IOAPIC's EOI register");
	inject(1, 0x61, false);
	is_u64(rd(1, LAPIC_TMR + 0x30), 0, "an edge with the same vector clears TMR");
	running(0);
	wr(1, LAPIC_SVR, 0x11ff);
	is_u64(rd(1, LAPIC_SVR), 0x1ff, "without the feature bit 12 of the SVR is reserved");
}

static unsigned int pending_mask(u8 vector)
{
	unsigned int n, mask = 0;

	for (n = 0; n < NR_CPUS; n++)
		if (lapic_pending_vector(&cpus[n].apic) == vector)
			mask |= 1u << n;
	for (n = 0; n < NR_CPUS; n++) {
		while (lapic_pending_vector(&cpus[n].apic) >= 0) {
			lapic_ack(&cpus[n].apic);
			lapic_eoi(&cpus[n].apic);
		}
	}
	return mask;
}

static unsigned int ipi(u32 low, u32 high)
{
	wr(0, LAPIC_ICR_HIGH, high);
	wr(0, LAPIC_ICR, low);
	return pending_mask(low);
}

static void test_ipis(void)
{
	unsigned int n, total;

	running(0);
	is_u64(ipi(0x4040, 2u << 24), 0x4, "Physical Destination Mode: one");
	is_u64(ipi(0x4041, 0xffu << 24), 0xf, "Physical Destination Mode: broadcast");
	is_u64(ipi(0x4841, 0x0au << 24), 0xa, "Logical Destination Mode, flat: a set");
	is_u64(ipi(0x44041, 0), 0x1, "shorthand: self");
	is_u64(ipi(0x84041, 0), 0xf, "shorthand: all including self");
	is_u64(ipi(0xc4041, 0), 0xe, "shorthand: all excluding self");
	is_u64(ipi(0x4041, 9u << 24), 0, "nobody there");
	is_u64((u64)last_ret, (u64)IRQ_NOT_DELIVERED, "and the sender's bus knows");
	is_u64(rd(0, LAPIC_ICR) & LAPIC_ICR_STATUS, 0, "delivery status is idle");

	for (n = 0; n < NR_CPUS; n++) {
		wr(n, LAPIC_DFR, 0x0fffffff);
		wr(n, LAPIC_LDR, (n < 2 ? 0x10u : 0x20u) << 24 | 1u << (24 + (n & 1)));
	}
	is_u64(rd(0, LAPIC_DFR), 0x0fffffff, "DFR: bits 27:0 are ones");
	is_u64(ipi(0x4841, 0x23u << 24), 0xc, "Logical, cluster: two of cluster 2");
	is_u64(ipi(0x4841, 0x11u << 24), 0x1, "Logical, cluster: one of cluster 1");
	is_u64(ipi(0x4841, 0xffu << 24), 0xf, "Logical, cluster: broadcast");

	running(0);
	lapic_set_tpr(&cpus[0].apic, 0x30);
	lapic_set_tpr(&cpus[1].apic, 0x20);
	lapic_set_tpr(&cpus[3].apic, 0x10);
	is_u64(ipi(0x4941, 0x0bu << 24), 0x8, "Lowest Priority: the lowest PPR in the set");
	wr(3, LAPIC_SVR, 0xff);
	is_u64(ipi(0x4941, 0x0bu << 24), 0x2, "Lowest Priority: disabled ones do not take part");
	running(0);
	for (n = total = 0; n < 4; n++)
		total |= ipi(0x4941, 0x0fu << 24);
	is_u64(total, 0xf, "Lowest Priority: equals share");

	wr(0, LAPIC_ICR_HIGH, 1u << 24);
	wr(0, LAPIC_ICR, 0xc500);
	wr(0, LAPIC_ICR, 0x8500);
	is_u64(cpus[1].inits, 1, "INIT arrives, INIT level de-assert is ignored");
	wr(0, LAPIC_ICR, 0x4699);
	ok(cpus[1].sipis == 1 && cpus[1].sipi_vector == 0x99, "SIPI arrives with its page");
	wr(1, LAPIC_SVR, 0xff);
	wr(0, LAPIC_ICR, 0x4400);
	wr(0, LAPIC_ICR, 0x4200);
	ok(cpus[1].nmis == 1 && cpus[1].smis == 1, "NMI and SMI pass a software-disabled local APIC");
	lapic_set_base(&cpus[1].apic, 0xfee00000, false);
	wr(0, LAPIC_ICR, 0x4400);
	is_u64(cpus[1].nmis, 1, "but not a globally disabled one");
}

static void test_wires(void)
{
	struct lapic *apic = &cpus[0].apic;

	running(0);
	lapic_set_lint(apic, 0, true);
	ok(!lapic_extint_pending(apic), "LINT0 masked: the PIC does not get through");
	wr(0, LAPIC_LVT_LINT0, 0x700);
	ok(lapic_extint_pending(apic) && cpus[0].kicks, "LINT0 as ExtINT: the PIC interrupts (virtual wire)");
	lapic_set_lint(apic, 0, false);
	ok(!lapic_extint_pending(apic), "as long as INT is high");

	wr(0, LAPIC_LVT_LINT0, 0x30);
	lapic_set_lint(apic, 0, true);
	is_u64((u64)lapic_ack(apic), 0x30, "LINT0 fixed, edge (check_timer(): \"virtual wire IRQ\")");
	lapic_eoi(apic);
	lapic_set_lint(apic, 0, false);
	wr(0, LAPIC_LVT_LINT0, 0x8030);
	lapic_set_lint(apic, 0, true);
	lapic_ack(apic);
	ok(rd(0, LAPIC_LVT_LINT0) & LAPIC_LVT_REMOTE_IRR, "LINT0 fixed, level: remote IRR");
	lapic_eoi(apic);
	is_u64((u64)lapic_pending_vector(apic), 0x30, "comes again after EOI");
	lapic_set_lint(apic, 0, false);
	lapic_ack(apic);
	lapic_eoi(apic);
	ok(!(rd(0, LAPIC_LVT_LINT0) & LAPIC_LVT_REMOTE_IRR) && lapic_pending_vector(apic) < 0,
	   "until the line falls");

	wr(0, LAPIC_LVT_LINT1, 0x400);
	lapic_set_lint(apic, 1, true);
	lapic_set_lint(apic, 1, true);
	is_u64(cpus[0].nmis, 1, "LINT1 as NMI: one an edge");
	lapic_set_lint(apic, 1, false);
	wr(0, LAPIC_LVT_PERF, 0x400);
	lapic_perf_interrupt(apic);
	lapic_perf_interrupt(apic);
	ok(cpus[0].nmis == 2 && rd(0, LAPIC_LVT_PERF) == 0x10400,
	   "a performance interrupt masks its LVT entry");

	lapic_set_base(apic, 0xfee00100, false);
	ok(lapic_accepts_pic(apic) && lapic_mmio_base(apic) == ~0ull,
	   "globally disabled: INTR goes to the processor");
	lapic_set_lint(apic, 1, true);
	is_u64(cpus[0].nmis, 3, "and LINT1 is NMI");
	is_u64((u64)lapic_ack(apic), (u64)-1, "there is nothing to acknowledge here");

	running(0);
	last_ret = lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .delivery = IRQ_EXTINT });
	ok(last_ret == 1 && lapic_extint_pending(apic), "an ExtINT message asks for INTA");
	lapic_extint_ack(apic);
	ok(!lapic_extint_pending(apic), "once");
}

static void test_base(void)
{
	struct lapic *apic = &cpus[3].apic;

	running(LAPIC_FEATURE_X2APIC);
	is_u64(lapic_mmio_base(apic), 0xfee00000, "the page is where IA32_APIC_BASE says");
	is_u64((u64)lapic_set_base(apic, 0xfee00a00, false), (u64)LAPIC_FAULT, "#GP: bit 9");
	is_u64((u64)lapic_set_base(apic, 1ull << 40 | 0x800, false), (u64)LAPIC_FAULT, "#GP: MAXPHYADDR");
	is_u64((u64)lapic_set_base(apic, 0xfee00400, false), (u64)LAPIC_FAULT, "#GP: EXTD without EN");
	is_u64((u64)lapic_set_base(apic, 0xfed00800, false), 0, "the page moves");
	is_u64(lapic_mmio_base(apic), 0xfed00000, "there");
	is_u64((u64)lapic_set_base(apic, 0xfee00c00, false), 0, "xAPIC to x2APIC");
	ok(lapic_is_x2apic(apic) && lapic_mmio_base(apic) == ~0ull, "the page is gone");
	is_u64(rdmsr(3, LAPIC_SVR), 0x1ff, "the SVR stays");
	is_u64(rdmsr(3, LAPIC_LDR), 8, "LDR follows from the ID");
	is_u64((u64)lapic_set_base(apic, 0xfee00800, false), (u64)LAPIC_FAULT, "#GP: x2APIC to xAPIC");
	is_u64((u64)lapic_set_base(apic, 0xfee00000, false), 0, "x2APIC to disabled");
	is_u64((u64)lapic_set_base(apic, 0xfee00c00, false), (u64)LAPIC_FAULT, "#GP: disabled to x2APIC");
	is_u64((u64)lapic_set_base(apic, 0xfee00800, false), 0, "disabled to xAPIC");
	is_u64(rd(3, LAPIC_SVR), 0xff, "as after reset");
	is_u64((u64)lapic_set_base(apic, 0xfee00c00, true), 0, "a restore goes anywhere");
	is_u64((u64)lapic_set_base(apic, 0xfee00800, true), 0, "and back");
	x2apic_on(3);
	lapic_reset(apic, LAPIC_RESET_INIT);
	ok(lapic_is_x2apic(apic) && rdmsr(3, LAPIC_ID) == 3, "INIT keeps x2APIC mode and ID");
	lapic_reset(apic, LAPIC_RESET_POWER);
	ok(!lapic_is_x2apic(apic), "RESET does not");
	lapic_set_features(apic, 0);
	is_u64((u64)lapic_set_base(apic, 0xfee00c00, false), (u64)LAPIC_FAULT, "#GP: no x2APIC in CPUID");
}

static void test_x2apic(void)
{
	unsigned int n;

	running(ALL_FEATURES);
	is_u64(rdmsr(0, LAPIC_ID), FAULT, "#GP: x2APIC MSRs in xAPIC mode");
	for (n = 0; n < NR_CPUS; n++)
		x2apic_on(n);
	is_u64(rdmsr(2, LAPIC_ID), 2, "ID has 32 bits");
	is_u64((u64)wrmsr(2, LAPIC_ID, 2), (u64)LAPIC_FAULT, "#GP: ID is read only");
	is_u64((u64)wrmsr(2, LAPIC_LDR, 4), (u64)LAPIC_FAULT, "#GP: LDR is read only");
	is_u64(rdmsr(0, LAPIC_DFR), FAULT, "#GP: there is no DFR");
	is_u64(rdmsr(0, LAPIC_ICR_HIGH), FAULT, "#GP: the ICR is one register");
	is_u64(rdmsr(0, LAPIC_EOI), FAULT, "#GP: EOI is write only");
	is_u64(rdmsr(0, LAPIC_SELF_IPI), FAULT, "#GP: SELF IPI is write only");
	is_u64(rdmsr(0, LAPIC_LVT_CMCI), FAULT, "#GP: there is no LVT CMCI");
	is_u64(rdmsr(0, 0x400), FAULT, "#GP: MSR 0x840");
	is_u64((u64)wrmsr(0, LAPIC_EOI, 1), (u64)LAPIC_FAULT, "#GP: EOI takes zero only");
	is_u64((u64)wrmsr(0, LAPIC_EOI, 0), 0, "which it takes");
	is_u64((u64)wrmsr(0, LAPIC_ESR, 1), (u64)LAPIC_FAULT, "#GP: ESR takes zero only");
	is_u64((u64)wrmsr(0, LAPIC_TPR, 0x100), (u64)LAPIC_FAULT, "#GP: reserved bits of the TPR");
	is_u64((u64)wrmsr(0, LAPIC_TPR, 1ull << 32), (u64)LAPIC_FAULT, "#GP: upper half");
	is_u64((u64)wrmsr(0, LAPIC_LVT_TIMER, 0x100), (u64)LAPIC_FAULT, "#GP: no delivery mode");
	is_u64((u64)wrmsr(0, LAPIC_LVT_TIMER, 0x400ef), 0, "TSC-deadline is a timer mode");
	is_u64((u64)wrmsr(0, LAPIC_SVR, 0x11ff), 0, "suppression of broadcasts can be set");
	is_u64((u64)wrmsr(0, LAPIC_ICR, 0x2000), (u64)LAPIC_FAULT, "#GP: reserved bits of the ICR");

	is_u64((u64)wrmsr(0, LAPIC_ICR, 3ull << 32 | 0x4041), 0, "ICR: one write");
	is_u64(pending_mask(0x41), 8, "physical, one");
	is_u64(rdmsr(0, LAPIC_ICR), 3ull << 32 | 0x4041, "ICR reads back");
	wrmsr(0, LAPIC_ICR, 0xffffffffull << 32 | 0x4041);
	is_u64(pending_mask(0x41), 0xf, "broadcast is 0xffffffff");
	wrmsr(0, LAPIC_ICR, 0xffull << 32 | 0x4041);
	is_u64(pending_mask(0x41), 0, "0xff is nobody here");
	wrmsr(0, LAPIC_ICR, 0x6ull << 32 | 0x4841);
	is_u64(pending_mask(0x41), 6, "Logical: cluster 0");
	wrmsr(0, LAPIC_ICR, 0x10006ull << 32 | 0x4841);
	is_u64(pending_mask(0x41), 0, "Logical: cluster 1 is empty");
	wrmsr(0, LAPIC_SELF_IPI, 0x42);
	is_u64(pending_mask(0x42), 1, "SELF IPI");
	wrmsr(0, LAPIC_SELF_IPI, 2);
	wrmsr(0, LAPIC_ESR, 0);
	is_u64(rdmsr(0, LAPIC_ESR), LAPIC_ESR_SEND_VECTOR, "SELF IPI with an illegal vector is an error");
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .dest = 0xff, .vector = 0x43 });
	is_u64(pending_mask(0x43), 0xf, "a device's broadcast is 0xff still");
}

/* KVM's API documentation, "KVM_CAP_X2APIC_API", KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK */
static void test_wide(void)
{
	unsigned int n;

	running(ALL_FEATURES);
	for (n = 0; n < 3; n++)
		x2apic_on(n);
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .dest = 0xff, .vector = 0x41 });
	is_u64(pending_mask(0x41), 0xf, "0xff of a device is everybody");
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .dest = 0xffffffff, .vector = 0x42 });
	is_u64(pending_mask(0x42), 7, "0xffffffff is everybody in x2APIC mode");
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .dest = 0xff, .vector = 0x43, .wide = true });
	is_u64(pending_mask(0x43), 8, "and so is 0xff, in xAPIC mode, without the quirk");
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .dest = 0xffffffff, .vector = 0x44, .wide = true });
	is_u64(pending_mask(0x44), 7, "as before");
}

/* Of the vectors of edges, one has its EOI reported. */
static void test_watch(void)
{
	static int watch;
	struct lapic *apic = &cpus[0].apic;

	watch = -1;
	running(ALL_FEATURES);
	apic->config.watch = &watch;
	broadcasts = 0;
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .vector = 0x41 });
	lapic_ack(apic);
	lapic_eoi(apic);
	is_u64(broadcasts, 0, "an edge's EOI is nobody's business");
	watch = 0x41;
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .vector = 0x41 });
	lapic_deliver(apics, NR_CPUS, NULL, &(struct irq_msg) { .vector = 0x52 });
	lapic_ack(apic);
	lapic_eoi(apic);
	is_u64(broadcasts, 0, "that of another vector");
	lapic_ack(apic);
	wr(0, LAPIC_SVR, 0x11ff);
	lapic_eoi(apic);
	is_u64(broadcasts, 1, "but of the one that is watched, suppressed or not");
	ok(lapic_watched(apic, 0x41) && !lapic_watched(apic, 0x52), "which its owner can ask for");
	apic->config.watch = NULL;
}

static void test_large_id(void)
{
	const struct lapic_config config = { .id = 300, .features = LAPIC_FEATURE_X2APIC };
	const struct irq_msg msg = { .dest = 300, .delivery = IRQ_INIT, .wide = true };

	fresh(LAPIC_FEATURE_X2APIC);
	lapic_init(&cpus[3].apic, &cpus[3].page, &config, &ops, &cpus[3]);
	is_u64(lapic_deliver(apics, NR_CPUS, &cpus[0].apic, &msg), 1, "INIT finds APIC 300 in xAPIC mode");
	x2apic_on(3);
	ok(rdmsr(3, LAPIC_ID) == 300 && rdmsr(3, LAPIC_LDR) == (18u << 16 | 1u << 12),
	   "ID and LDR of APIC 300");
}

static void test_timer(void)
{
	struct lapic *apic = &cpus[0].apic;
	struct lapic_deadline deadline;
	u64 value;

	running(ALL_FEATURES);
	lapic_write(apic, LAPIC_TIMER_DIVIDE, 4, 0x3, 0);
	lapic_write(apic, LAPIC_LVT_TIMER, 4, 0x30, 0);
	lapic_write(apic, LAPIC_TIMER_INIT, 4, 1000, 5000);
	deadline = lapic_timer_deadline(apic);
	ok(deadline.clock == LAPIC_CLOCK_NS && deadline.at == 5000 + 16000,
	   "APIC Timer: one-shot, 1000 counts of 16 ns");
	is_u64(lapic_read(apic, LAPIC_TIMER_COUNT, 4, 5000 + 1600), 900, "the current count goes down");
	is_u64(lapic_timer_expire(apic, 20999, 0), 0, "not early");
	is_u64(lapic_timer_expire(apic, 21000, 0), 1, "expires");
	is_u64((u64)lapic_pending_vector(apic), 0x30, "and interrupts");
	ok(lapic_timer_deadline(apic).clock == LAPIC_CLOCK_NONE && !lapic_timer_count(apic, 99999), "once");

	pending_mask(0);
	lapic_write(apic, LAPIC_LVT_TIMER, 4, 0x20030, 0);
	lapic_write(apic, LAPIC_TIMER_DIVIDE, 4, 0xb, 0);
	lapic_write(apic, LAPIC_TIMER_INIT, 4, 1000, 100);
	is_u64(lapic_timer_expire(apic, 3550, 0), 3, "periodic: three at once are merged");
	is_u64(lapic_timer_deadline(apic).at, 4100, "periodic: and the phase stays");
	is_u64(lapic_timer_count(apic, 3550), 550, "periodic: the count starts over");
	lapic_write(apic, LAPIC_TIMER_DIVIDE, 4, 0x0, 3600);
	is_u64(lapic_timer_deadline(apic).at, 4600, "half the rate: twice the time for the rest");
	is_u64(lapic_timer_count(apic, 4600), 1000, "then whole periods");
	is_u64(lapic_timer_expire(apic, 1ull << 62, 0) > 1000000, true, "146 years late: no loop");
	ok(lapic_timer_deadline(apic).at > 1ull << 62, "and a deadline ahead");
	lapic_write(apic, LAPIC_LVT_TIMER, 4, 0x30030, 1ull << 62);
	ok(lapic_timer_deadline(apic).clock == LAPIC_CLOCK_NONE, "masked: nobody is woken");
	ok(lapic_timer_count(apic, (1ull << 62) + 500) > 0, "but it counts");

	lapic_write(apic, LAPIC_LVT_TIMER, 4, 0x40031, 0);
	is_u64(lapic_timer_count(apic, 1ull << 62), 0, "TSC-Deadline Mode: the count reads zero");
	lapic_msr_write(apic, LAPIC_MSR_TSC_DEADLINE, 777, 0);
	deadline = lapic_timer_deadline(apic);
	ok(deadline.clock == LAPIC_CLOCK_TSC && deadline.at == 777, "TSC-Deadline Mode: armed");
	is_u64(lapic_timer_expire(apic, 0, 776), 0, "not early");
	is_u64(lapic_timer_expire(apic, 0, 777), 1, "expires");
	lapic_msr_read(apic, LAPIC_MSR_TSC_DEADLINE, &value, 0);
	ok(value == 0 && lapic_pending_vector(apic) == 0x31, "interrupts, and the MSR reads zero");
	lapic_write(apic, LAPIC_TIMER_INIT, 4, 1000, 0);
	is_u64(rd(0, LAPIC_TIMER_INIT), 0, "TSC-Deadline Mode: the initial count is not writable");
	lapic_msr_write(apic, LAPIC_MSR_TSC_DEADLINE, 888, 0);
	lapic_write(apic, LAPIC_LVT_TIMER, 4, 0x31, 0);
	lapic_msr_read(apic, LAPIC_MSR_TSC_DEADLINE, &value, 0);
	is_u64(value, 0, "leaving the mode disarms it");
	lapic_msr_write(apic, LAPIC_MSR_TSC_DEADLINE, 888, 0);
	ok(lapic_timer_deadline(apic).clock == LAPIC_CLOCK_NONE, "other modes ignore the MSR");
	lapic_set_features(apic, 0);
	is_u64((u64)lapic_msr_read(apic, LAPIC_MSR_TSC_DEADLINE, &value, 0), (u64)LAPIC_FAULT,
	       "#GP without the feature");
}

static void test_save(void)
{
	u8 regs[LAPIC_STATE_SIZE], again[LAPIC_STATE_SIZE];
	struct lapic *apic = &cpus[0].apic;
	unsigned int n;

	running(ALL_FEATURES);
	lapic_write(apic, LAPIC_LVT_TIMER, 4, 0x20030, 0);
	lapic_write(apic, LAPIC_TIMER_DIVIDE, 4, 0xb, 0);
	lapic_write(apic, LAPIC_TIMER_INIT, 4, 1000, 0);
	inject(0, 0x77, true);
	lapic_ack(apic);
	inject(0, 0x88, false);
	lapic_collect(apic);
	lapic_save(apic, regs, 300);
	running(ALL_FEATURES);
	lapic_restore(apic, regs, 1000000);
	lapic_save(apic, again, 1000000);
	ok(!memcmp(regs, again, sizeof(regs)), "saved, restored and saved is the same page");
	is_u64(lapic_timer_deadline(apic).at, 1000700, "the timer goes on");
	is_u64((u64)lapic_ack(apic), 0x88, "and so do the interrupts");
	for (n = 0; n < sizeof(regs); n++)
		regs[n] = 0xff;
	lapic_restore(apic, regs, 0);
	ok(!(rd(0, LAPIC_IRR) & 0xffff) && rd(0, LAPIC_ID) == 0 && rd(0, LAPIC_VERSION) == 0x01050014,
	   "garbage is brought into range");
}

/* The whole board: PIC on LINT0 of CPU 0, INTA by the book. */
static void pic_output_changed(void *ctx, bool level)
{
	(void)ctx;
	lapic_set_lint(&cpus[0].apic, 0, level);
}

static void test_board(void)
{
	static const struct pic_ops pic_ops = { .set_output = pic_output_changed };
	struct lapic *apic = &cpus[0].apic;
	static struct pic pic;
	unsigned int n, taken = 0;

	running(LAPIC_FEATURE_VIRTUAL_WIRE);
	pic_init(&pic, &pic_ops, NULL);
	pic_write(&pic, PIC_MASTER_CMD, 0x11);
	pic_write(&pic, PIC_MASTER_DATA, 0x30);
	pic_write(&pic, PIC_MASTER_DATA, 0x04);
	pic_write(&pic, PIC_MASTER_DATA, 0x03);
	wr(0, LAPIC_LVT_LINT0, 0x700);
	pic_set_irq(&pic, 0, true);
	ok(lapic_extint_pending(apic), "board: the PIC's INT is an ExtINT");
	lapic_extint_ack(apic);
	is_u64(pic_ack(&pic), 0x30, "board: INTA fetches the PIC's vector");
	ok(!lapic_extint_pending(apic), "board: then INT is low");

	/* check_timer(): the PIC in automatic EOI mode, LINT0 fixed, and never an INTA. */
	wr(0, LAPIC_LVT_LINT0, 0x31);
	for (n = 0; n < 10; n++) {
		pic_set_irq(&pic, 0, false);
		pic_set_irq(&pic, 0, true);
		if (lapic_pending_vector(apic) == 0x31) {
			lapic_ack(apic);
			lapic_eoi(apic);
			taken++;
		}
	}
	is_u64(taken, 10, "board: \"virtual wire IRQ\": ten ticks through a fixed LINT0");
}

static bool consistent(const struct cpu *cpu, u64 now)
{
	const struct lapic *apic = &cpu->apic;
	struct lapic_deadline deadline = lapic_timer_deadline(apic);
	int vector = lapic_pending_vector(apic);

	if ((lapic_reg(apic, LAPIC_IRR) | lapic_reg(apic, LAPIC_ISR)) & 0xffff)
		return false;
	if (vector >= 0 && vector >> 4 <= lapic_ppr(apic) >> 4)
		return false;
	if (deadline.clock == LAPIC_CLOCK_NS && deadline.at <= now)
		return false;
	if (lapic_is_x2apic(apic) && lapic_mmio_base(apic) != ~0ull)
		return false;
	return lapic_reg(apic, LAPIC_VERSION) >> 16 == 0x0105;
}

static void test_random(void)
{
	u64 seed = tap_seed(0xfee00000), state = seed, now = 0;
	u8 regs[LAPIC_STATE_SIZE];
	unsigned int n, bad = 0;

	diag("seed %#llx", (unsigned long long)seed);
	running(ALL_FEATURES);
	for (n = 0; n < 1500000; n++) {
		u64 r = tap_random(&state), value = tap_random(&state);
		struct cpu *cpu = &cpus[r >> 4 & 3];
		struct lapic *apic = &cpu->apic;
		struct lapic_deadline deadline;
		struct irq_msg msg;
		u32 msr;

		if (r >> 60 == 0)
			value = ~0ull;
		switch (r & 15) {
		case 0:
		case 1:
			lapic_write(apic, (r >> 8 & 0x3f) << 4, 4, value >> (r >> 16 & 31), now);
			break;
		case 2:
			lapic_write(apic, r >> 8, 1u << (r >> 40 & 3), value, now);
			break;
		case 3:
			lapic_read(apic, r >> 8 & 0xfff, 1u << (r >> 40 & 3), now);
			lapic_read(apic, r >> 8, 8, now);
			break;
		case 4:
			lapic_msr_write(apic, 0x800 + (r >> 8 & 0x7f), value >> (r >> 16 & 63), now);
			break;
		case 5:
			msr = r >> 8 & 1 ? 0x800 + (r >> 9 & 0xff) : r >> 9;
			lapic_msr_read(apic, msr, &value, now);
			break;
		case 6:
			lapic_msr_write(apic, LAPIC_MSR_TSC_DEADLINE, value >> (r >> 16 & 63), now);
			break;
		case 7:
			if (r >> 32 & 7)
				break;
			lapic_set_base(apic, value & 0xfffffffd00 & ~(r >> 16 & 0xc00), r >> 40 & 1);
			break;
		case 8:
			if (irq_msg_from_msi(&msg, 0xfee00000 | (value & 0xfffff), r >> 8, r >> 58))
				lapic_deliver(apics, NR_CPUS, NULL, &msg);
			break;
		case 9:
			bad += lapic_pending_vector(apic) >= 0 && lapic_ack(apic) < 16;
			break;
		case 10:
			lapic_eoi(apic);
			break;
		case 11:
			lapic_set_lint(apic, r >> 8 & 1, r >> 9 & 1);
			break;
		case 12:
			if (r >> 16 & 15)
				break;
			lapic_save(apic, regs, now);
			if (r >> 20 & 1)
				regs[value % sizeof(regs)] = r >> 24;
			lapic_restore(apic, regs, now);
			break;
		case 13:
			if (r >> 16 & 63)
				lapic_write(apic, LAPIC_SVR, 4, 0x1ff, now);
			else
				lapic_reset(apic, r >> 32 & 1);
			break;
		default:
			now += value >> (r >> 16 & 1 ? 24 : 50);
			if (now > 1ull << 62) {
				now = 0;
				running(ALL_FEATURES);
			}
			break;
		}
		for (cpu = cpus; cpu < cpus + NR_CPUS; cpu++) {
			lapic_timer_expire(&cpu->apic, now, now);
			deadline = lapic_timer_deadline(&cpu->apic);
			bad += deadline.clock == LAPIC_CLOCK_TSC && deadline.at <= now;
			bad += !consistent(cpu, now);
		}
	}
	is_u64(bad, 0, "1,500,000 random accesses to 4 local APICs keep the invariants");
}

/* A processor that fetches edges and ends them by itself; levels and what is watched reach it by lapic_collect() alone. */
static void test_posted(void)
{
	struct lapic *apic = &cpus[0].apic;
	int watched = 0x52;

	running(0);
	apic->config.watch = &watched;
	is_u64(inject(0, 0x31, false), 1, "posted: an edge");
	is_u64((u64)inject(0, 0x31, false), IRQ_COALESCED, "posted: once more");
	ok(cpus[0].kicks == 1 && cpus[0].posted[1] == 1u << 0x11, "posted: is where the processor fetches it");
	inject(0, 0x31 + 0x20, true);
	inject(0, 0x52, false);
	ok(cpus[0].kicks == 3 && !cpus[0].posted[2] && !lapic_reg(apic, LAPIC_IRR + 0x20),
	   "posted: a level, and an edge that is watched, are not");
	is_u64(lapic_wants_eoi(apic, 2), 1u << 0x12, "posted: nor is the level's EOI wanted yet");
	is_u64((u64)lapic_pending_vector(apic), 0x52, "posted: all of them wait");
	lapic_collect(apic);
	is_u64(lapic_wants_eoi(apic, 2), 1u << 0x11 | 1u << 0x12, "posted: collected, its EOI is wanted");
	is_u64(lapic_reg(apic, LAPIC_IRR + 0x20), 1u << 0x11 | 1u << 0x12, "posted: collected, they are in IRR");
	is_u64((u64)inject(0, 0x31, false), IRQ_COALESCED, "posted: one that waits in IRR is not new");
	is_u64(cpus[0].posted[1], 1u << 0x11, "posted: but left, as the processor may take that at any moment");
	inject(0, 0x51, false);
	ok(!cpus[0].posted[2], "posted: an edge after a level of the same vector waits for TMR to be cleared");
	lapic_eoi_done(apic, 0x51);
	is_u64(broadcasts, 1, "posted: the EOI of the level is broadcast");
	lapic_collect(apic);
	is_u64(lapic_wants_eoi(apic, 2), 1u << 0x12, "posted: which it is then");
	lapic_eoi_done(apic, 0x51);
	is_u64(broadcasts, 1, "posted: the EOI of the edge is nobody's concern");
	lapic_eoi_done(apic, 0x52);
	is_u64(broadcasts, 2, "posted: but of the one that is watched");
	inject(0, 0x31, false);
	lapic_reset(apic, LAPIC_RESET_INIT);
	lapic_collect(apic);
	ok(!cpus[0].posted[1] && lapic_highest(apic, LAPIC_IRR) < 0, "posted: a reset leaves nothing");
}

static void test_all(void)
{
	test_reset();
	test_priority();
	test_errors();
	test_levels();
	test_ipis();
	test_wires();
	test_base();
	test_x2apic();
	test_wide();
	test_watch();
	test_large_id();
	test_timer();
	test_save();
	test_board();
	test_random();
}

int main(void)
{
	test_all();
	posting = true;
	test_all();
	test_posted();
	return tap_done();
}
