# SPDX-License-Identifier: GPL-2.0-only
#
# tenon.ko. Included by the Makefile.
#
#   KERNEL=NAME      which of the kernels of scripts/kmod-headers (generic: Debian 6.1, 6.12), for `make modules`
#   KERNELDIR=DIR    or another kernel's build directory

KERNEL ?= generic
KERNELDIR ?=
modules_kdir = $(if $(KERNELDIR),$(KERNELDIR),$(shell scripts/kmod-headers $(KERNEL)))
modules_dir = $(O)/modules/$(KERNEL)

# What goes into the module, and what DKMS installs.
modules_src := Kbuild VERSION kmod emul/base.h emul/irqchip emul/guest/x86 uapi

# BTF would want pahole and the kernel's own debugging information; the module does without.
#
# O is kbuild's word for another thing, and would reach it: O= takes it back.
#
# Built from a copy: kbuild writes beside its sources, and a copy shows that nothing else is needed.
.PHONY: modules
modules:
	$(Q)mkdir -p $(modules_dir)
	$(Q)tar -cf - $(modules_src) | tar -xf - -C $(modules_dir)
	$(Q)$(MAKE) --no-print-directory -C $(modules_kdir) O= M=$(abspath $(modules_dir)) W=$(W) C=$(C) CF=$(CF) CONFIG_DEBUG_INFO_BTF_MODULES= modules

.PHONY: modules_install
modules_install: modules
	$(Q)$(MAKE) --no-print-directory -C $(modules_kdir) O= M=$(abspath $(modules_dir)) modules_install

# The module's tests, for the test bed.
selftests_dir := tools/testing/selftests/tenon
.PHONY: selftests
selftests:
	$(Q)mkdir -p $(O)/selftests
	$(Q)$(MAKE) --no-print-directory -C $(selftests_dir) O=$(abspath $(O)/selftests)

# What the module takes the processor of the test bed for, in some of them.
.PHONY: selftests-modules
selftests-modules: pretend_dir = $(O)/selftests-modules/$(KERNEL)
selftests-modules:
	$(Q)mkdir -p $(pretend_dir)
	$(Q)cp $(selftests_dir)/pretend/Kbuild $(selftests_dir)/pretend/pretend.c $(pretend_dir)/
	$(Q)$(MAKE) --no-print-directory -C $(modules_kdir) O= M=$(abspath $(pretend_dir)) CONFIG_DEBUG_INFO_BTF_MODULES= modules

# A DKMS source tree in DESTDIR/usr/src: what the module consists of, and nothing else. And whom the node is for.
.PHONY: dkms-install
dkms_dir = $(DESTDIR)/usr/src/tenon-$(VERSION)
dkms-install:
	install -d $(dkms_dir)
	tar -cf - $(modules_src) COPYING | tar -xf - -C $(dkms_dir)
	sed 's/#MODULE_VERSION#/$(VERSION)/' dkms.conf.in >$(dkms_dir)/dkms.conf
	install -D -m 644 packaging/60-tenon.rules $(DESTDIR)/usr/lib/udev/rules.d/60-tenon.rules
	install -D -m 644 packaging/tenon.sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/tenon.conf

# The kernel's own checkers: checkpatch.pl, and on both kernels sparse and W=1, whose warnings are errors here.
style_flags := C=2 CF=-Wsparse-error W=1e
.PHONY: check-style
check-style:
	scripts/kmod-style
	command -v sparse >/dev/null || { echo 'sparse is missing: apt-get install sparse' >&2; exit 1; }
	$(MAKE) --no-print-directory modules KERNEL=generic modules_dir=$(O)/style/generic $(style_flags)
	$(MAKE) --no-print-directory modules KERNEL=6.12 modules_dir=$(O)/style/6.12 $(style_flags)
