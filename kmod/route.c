// SPDX-License-Identifier: GPL-2.0-only
/*
 * route.c - where a GSI goes: to pins of the chips, or out as a message
 *
 * The table is sorted by GSI and never changes once published; readers hold vm->irq_srcu, which may
 * be taken with interrupts off.

 */
#include <linux/slab.h>
#include <linux/sort.h>

#include "tenon.h"
#include "vendor.h"

static int route_order(const void *a, const void *b)
{
	const struct tenon_route *x = a, *y = b;

	return x->gsi < y->gsi ? -1 : x->gsi > y->gsi;
}

static int routes_publish(struct tenon_vm *vm, struct tenon_routes *routes)
{
	struct tenon_routes *old;
	unsigned int n;

	mutex_lock(&vm->slots_lock);
	old = rcu_dereference_protected(vm->routes, lockdep_is_held(&vm->slots_lock));
	rcu_assign_pointer(vm->routes, routes);
	synchronize_srcu(&vm->irq_srcu);
	mutex_unlock(&vm->slots_lock);
	kvfree(old);
	if (vm->irqchip == TENON_IRQCHIP_SPLIT) {
		for (n = 0; n < tenon_nr_vcpus(vm); n++) {
			WRITE_ONCE(vm->vcpu[n]->vectors_stale, true);
			tenon_make_request(vm->vcpu[n], TENON_REQ_KICK);
			tenon_kick(vm->vcpu[n]);
		}
	}
	return 0;
}

/* ISA IRQs go to both, IRQ 0 to pin 2 of the IOAPIC as well; the rest to the IOAPIC alone. */
int tenon_routes_default(struct tenon_vm *vm)
{
	struct tenon_routes *routes;
	unsigned int n, count = 0;

	routes = kvzalloc(struct_size(routes, route, IOAPIC_NR_PINS + PIC_NR_IRQS),
			  GFP_KERNEL_ACCOUNT);
	if (!routes)
		return -ENOMEM;
	for (n = 0; n < IOAPIC_NR_PINS; n++) {
		if (n < PIC_NR_IRQS)
			routes->route[count++] = (struct tenon_route){
				.gsi = n,
				.type = KVM_IRQ_ROUTING_IRQCHIP,
				.chip = n / 8,
				.pin = n % 8,
			};
		routes->route[count++] = (struct tenon_route){
			.gsi = n,
			.type = KVM_IRQ_ROUTING_IRQCHIP,
			.chip = KVM_IRQCHIP_IOAPIC,
			.pin = n,
		};
	}
	routes->n = count;
	return routes_publish(vm, routes);
}

int tenon_routes_set(struct tenon_vm *vm, const struct kvm_irq_routing *head,
		     const struct kvm_irq_routing_entry *entries)
{
	struct tenon_routes *routes;
	unsigned int n;

	routes = kvzalloc(struct_size(routes, route, head->nr), GFP_KERNEL_ACCOUNT);
	if (!routes)
		return -ENOMEM;
	for (n = 0; n < head->nr; n++) {
		const struct kvm_irq_routing_entry *e = &entries[n];
		struct tenon_route *r = &routes->route[n];

		if (e->gsi >= TENON_MAX_ROUTES || e->flags)
			goto err;
		r->gsi = e->gsi;
		r->type = e->type;
		switch (e->type) {
		case KVM_IRQ_ROUTING_IRQCHIP:
			if (vm->irqchip != TENON_IRQCHIP_KERNEL ||
			    e->u.irqchip.irqchip > KVM_IRQCHIP_IOAPIC ||
			    e->u.irqchip.pin >= (e->u.irqchip.irqchip == KVM_IRQCHIP_IOAPIC ?
							 IOAPIC_NR_PINS :
							 8))
				goto err;
			r->chip = e->u.irqchip.irqchip;
			r->pin = e->u.irqchip.pin;
			break;
		case KVM_IRQ_ROUTING_MSI:
			if (!tenon_msi_valid(vm, e->u.msi.address_hi))
				goto err;
			r->addr = e->u.msi.address_lo | (u64)e->u.msi.address_hi << 32;
			r->data = e->u.msi.data;
			break;
		default:
			goto err;
		}
	}
	routes->n = head->nr;
	sort(routes->route, routes->n, sizeof(routes->route[0]), route_order, NULL);
	/*
	 * One pin of each chip, or one message: a GSI that fans out without a bound would hold interrupts off for as
	 * long.
	 */
	for (n = 1; n < routes->n; n++) {
		const struct tenon_route *r = &routes->route[n];
		unsigned int m;

		for (m = n; m > 0 && routes->route[m - 1].gsi == r->gsi; m--) {
			const struct tenon_route *other = &routes->route[m - 1];

			if (r->type != KVM_IRQ_ROUTING_IRQCHIP || other->type != r->type || other->chip == r->chip)
				goto err;
		}
	}
	return routes_publish(vm, routes);
err:
	kvfree(routes);
	return -EINVAL;
}

/* With KVM_X2APIC_API_USE_32BIT_IDS the upper half has destination bits 31:8, and else no meaning. */
bool tenon_msi_valid(const struct tenon_vm *vm, u32 addr_high)
{
	return !vm->x2apic_32bit || !(addr_high & 0xff);
}

/* An MSI: the number of receivers, 0 if it was pending, or -1. */
int tenon_msi(struct tenon_vm *vm, u64 addr, u32 data)
{
	struct irq_msg msg;

	if (!vm->x2apic_32bit)
		addr = (u32)addr;
	if (!irq_msg_from_msi(&msg, addr, data, tenon_msi_flags(vm)))
		return IRQ_NOT_DELIVERED;
	return lapic_deliver(vm->lapics, tenon_nr_lapics(vm), NULL, &msg);
}

/* The first route of a GSI; they follow each other. The number of routes if there is none. */
static unsigned int first_route(const struct tenon_routes *routes, u32 gsi)
{
	unsigned int low = 0, high = routes ? routes->n : 0;

	while (low < high) {
		const unsigned int mid = low + (high - low) / 2;

		if (routes->route[mid].gsi < gsi)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The pins that a GSI leads to, as bits: of the IOAPIC, and the 16 of the PIC pair. Atomic context. */
u32 tenon_gsi_pins(struct tenon_vm *vm, u32 gsi)
{
	const struct tenon_routes *routes;
	unsigned int n;
	u32 pins = 0;
	int idx;

	idx = srcu_read_lock(&vm->irq_srcu);
	routes = srcu_dereference(vm->routes, &vm->irq_srcu);
	for (n = first_route(routes, gsi); routes && n < routes->n && routes->route[n].gsi == gsi; n++) {
		const struct tenon_route *r = &routes->route[n];

		if (r->type == KVM_IRQ_ROUTING_IRQCHIP)
			pins |= BIT(r->pin + (r->chip == KVM_IRQCHIP_PIC_SLAVE ? 8 : 0));
	}
	srcu_read_unlock(&vm->irq_srcu, idx);
	return pins;
}

/*
 * Set a line, or send its message on a rising edge. Atomic context. The best of what the targets
 * answer.
 */
int tenon_set_gsi(struct tenon_vm *vm, u32 gsi, unsigned int source, bool level)
{
	const struct tenon_routes *routes;
	int ret = IRQ_NOT_DELIVERED, idx;
	unsigned int n;

	idx = srcu_read_lock(&vm->irq_srcu);
	routes = srcu_dereference(vm->routes, &vm->irq_srcu);
	for (n = first_route(routes, gsi); routes && n < routes->n && routes->route[n].gsi == gsi; n++) {
		const struct tenon_route *r = &routes->route[n];
		int one = IRQ_NOT_DELIVERED;

		if (r->type == KVM_IRQ_ROUTING_MSI) {
			if (level)
				one = tenon_msi(vm, r->addr, r->data);
		} else {
			one = tenon_chips_line(vm, r->chip, r->pin, source, level);
		}
		if (one >= 0)
			ret = ret < 0 ? one : ret + one;
	}
	srcu_read_unlock(&vm->irq_srcu, idx);
	return ret;
}

/*
 * With the IOAPIC in user space, its pins are MSI routes of the lowest GSIs: the vectors of the
 * level-triggered ones are those whose EOI it wants to hear of.

 */
void tenon_routes_ioapic_vectors(struct tenon_vcpu *vcpu)
{
	const struct tenon_routes *routes;
	struct tenon_vm *vm = vcpu->vm;
	struct irq_msg msg;
	unsigned int n;
	int idx;

	bitmap_zero(vcpu->ioapic_vectors, 256);
	idx = srcu_read_lock(&vm->irq_srcu);
	routes = srcu_dereference(vm->routes, &vm->irq_srcu);
	for (n = 0; routes && n < routes->n; n++) {
		const struct tenon_route *r = &routes->route[n];

		if (r->type != KVM_IRQ_ROUTING_MSI || r->gsi >= vm->split_pins ||
		    !irq_msg_from_msi(&msg, vm->x2apic_32bit ? r->addr : (u32)r->addr, r->data, tenon_msi_flags(vm)))
			continue;
		if (msg.level && lapic_matches(vcpu->lapic, NULL, &msg))
			__set_bit(msg.vector, vcpu->ioapic_vectors);
	}
	srcu_read_unlock(&vm->irq_srcu, idx);
}
