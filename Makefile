# SPDX-License-Identifier: GPL-2.0-only
#
# Tenon: the launcher and the software CPU. `make help` lists what can be made.
#
#   O=DIR       where everything built goes (default: build)
#   SAN=1       AddressSanitizer and UndefinedBehaviorSanitizer, built into $(O)/san
#   FUZZ=1      the fuzzers, by clang with the same sanitizers, into $(O)/fuzz
#   TIME=S      seconds for each fuzzer (make fuzz)
#   V=1         show the commands
#   WERROR=0    warnings are not errors (for compilers newer than those this is tested with)

O	?= build
SAN	?= 0
FUZZ	?= 0
TIME	?= 60
V	?= 0
WERROR	?= 1
PREFIX	?= /usr/local
CC	?= gcc
CLANG	?= clang
AR	?= ar

export O TENON_CACHE BENCH REPS

VERSION	:= $(file <VERSION)
B	:= $(if $(filter 1,$(FUZZ)),$(O)/fuzz,$(if $(filter 1,$(SAN)),$(O)/san,$(O)))
ifeq ($(FUZZ),1)
override CC := $(CLANG)
endif
Q	:= $(if $(filter 1,$(V)),,@)
say	= $(if $(filter 1,$(V)),@:,@printf '  %-7s %s\n' '$(1)' '$(2)')

# The machine the software CPU is built for: emul/host/<arch>/ holds what only that host can do.
HOST_ARCH := $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null || uname -m))
HOST_ARCH := $(firstword $(HOST_ARCH))

# ---- flags

warnings := -Wall -Wextra -Wstrict-prototypes -Wold-style-definition -Wvla
warnings += $(if $(filter 1,$(WERROR)),-Werror)
warnings += -Wmissing-prototypes -Wno-error=missing-prototypes

# -fno-strict-aliasing: guest memory and register files are read at several widths, as in the kernel. Signed
# overflow stays undefined, so that the sanitizer build finds it.
TENON_CFLAGS := -std=gnu11 -g $(warnings) -fno-strict-aliasing -D_GNU_SOURCE= -DTENON_VERSION='"$(VERSION)"'
TENON_CFLAGS += -I. -Iemul/include -Iuapi
ifeq ($(FUZZ),1)
fuzz_san := address,undefined
# The structures of the KVM interface end in arrays and stand within others.
TENON_CFLAGS += -Wno-gnu-variable-sized-type-not-at-end
TENON_CFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,$(fuzz_san) -fno-sanitize-recover=all
TENON_LDFLAGS := -fsanitize=$(fuzz_san)
else ifeq ($(SAN),1)
TENON_CFLAGS += -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
TENON_LDFLAGS := -fsanitize=address,undefined
else
TENON_CFLAGS += -O2
TENON_LDFLAGS :=
endif

# The software CPU runs with the guest's vector and FP registers loaded around the host's own instructions: the
# compiler may not use them on its own.
EMUL_CFLAGS := $(if $(filter x86_64,$(HOST_ARCH)),-mgeneral-regs-only)

# ---- sources: everything in these directories

emul_dirs := emul/core emul/irqchip emul/guest/x86 emul/host/$(HOST_ARCH)
emul_dirs += $(wildcard emul/jit/x86-on-$(HOST_ARCH))
launcher_dirs := launcher launcher/machine launcher/devices launcher/virtio launcher/block launcher/net launcher/fs launcher/ui

sources = $(sort $(foreach d,$(1),$(wildcard $(d)/*.c $(d)/*.S)))
objects = $(addprefix $(B)/,$(addsuffix .o,$(basename $(1))))

emul_obj := $(call objects,$(call sources,$(emul_dirs)))
launcher_libs := -ljson-c -lz -lzstd -lslirp -lnl-route-3 -lnl-3 -llzma -lseccomp -lnbd -luring
launcher_obj := $(call objects,$(call sources,$(launcher_dirs)))
libemul := $(B)/libemul.a
liblauncher := $(B)/liblauncher.a

unit_names := $(patsubst tools/testing/unit/%.c,%,$(sort $(wildcard tools/testing/unit/*.c)))
unit_bin := $(addprefix $(B)/unit/,$(unit_names))
unit_sh := $(sort $(wildcard tools/testing/unit/*.sh))
# Tests of launcher code are told by their names; the others link with the software CPU alone.
unit_launcher := $(filter launcher-% machine-% devices-% virtio-% block-% net-% fs-% ui-%,$(unit_names))

.PHONY: all
all: $(B)/tenon

# ---- build

$(B)/tenon: $(B)/launcher/main.o $(liblauncher) $(libemul)
	$(call say,LD,$@)
	$(Q)$(CC) $(TENON_LDFLAGS) $(LDFLAGS) -o $@ $^ $(launcher_libs) -lpthread

# An archive is made anew, or members whose source is gone would stay.
$(libemul): $(emul_obj)
$(liblauncher): $(filter-out $(B)/launcher/main.o,$(launcher_obj)) $(B)/launcher/init/blob.o
$(libemul) $(liblauncher):
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^

$(B)/emul/%.o: TENON_CFLAGS += $(EMUL_CFLAGS)
$(B)/launcher/net/%.o: TENON_CFLAGS += -isystem /usr/include/libnl3

$(B)/%.o: %.c Makefile
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(TENON_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The first program in the guest of `tenon run --rootfs`, without a C library, as data in the launcher.
INIT_CFLAGS := -std=gnu11 $(warnings) -Os -ffreestanding -fno-stack-protector -fno-pie -mgeneral-regs-only
INIT_CFLAGS += $(if $(filter 1,$(FUZZ)),-Wno-unused-command-line-argument) -fno-asynchronous-unwind-tables -nostdlib -static -no-pie -s -Wl,--build-id=none,-e,start
$(B)/launcher/init/blob.o: launcher/init/init.c launcher/devices/run-port.h Makefile
	$(call say,INIT,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(INIT_CFLAGS) -o $(@D)/tenon-init $<
	$(Q)cd $(@D) && $(LD) -r -b binary -z noexecstack -o $(@F) tenon-init

$(B)/%.o: %.S Makefile
	$(call say,AS,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(TENON_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# ---- unit tests: one program a file

unit_libs = $(if $(filter $(1),$(unit_launcher)),$(liblauncher)) $(libemul)
unit_ld = $(if $(filter $(1),$(unit_launcher)),$(launcher_libs)) -lpthread $(if $(filter decode decode-%,$(1)),-lZydis -lZycore)

.PHONY: unit
unit: $(unit_bin)

define unit_rule
$(B)/unit/$(1): $(B)/tools/testing/unit/$(1).o $(call unit_libs,$(1))
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(TENON_LDFLAGS) $$(LDFLAGS) -o $$@ $$^ $(call unit_ld,$(1))
endef
$(foreach n,$(unit_names),$(eval $(call unit_rule,$(n))))
$(B)/unit/sys-cases: $(B)/tools/testing/unit/guest-cases.o

# ---- fuzzers: one program a file, which keeps what it learns in $(O)/fuzz/corpus

fuzz_names := $(patsubst tools/testing/fuzz/%.c,%,$(sort $(wildcard tools/testing/fuzz/*.c)))
fuzz_bin := $(addprefix $(B)/bin/,$(fuzz_names))
.PHONY: fuzzers
fuzzers: $(fuzz_bin)

# The software CPU as it is: none of them runs it, and to build it anew takes longer than to fuzz.
$(fuzz_bin): $(B)/bin/%: $(B)/tools/testing/fuzz/%.o $(liblauncher) $(O)/libemul.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -fsanitize=fuzzer $(TENON_LDFLAGS) $(LDFLAGS) -o $@ $^ $(launcher_libs) -lpthread

-include $(patsubst %,$(B)/tools/testing/fuzz/%.d,$(fuzz_names))
-include $(patsubst %.o,%.d,$(emul_obj) $(launcher_obj))
-include $(patsubst %,$(B)/tools/testing/unit/%.d,$(unit_names) guest-cases)

# ---- running it

# Each of these installs what is missing first (scripts/setup says what and why) and builds.
sub := $(MAKE) --no-print-directory

.PHONY: demo
demo:
	$(Q)scripts/setup build guest
	$(Q)$(sub) all
	$(Q)scripts/guest-image demo
	$(Q)scripts/demo

.PHONY: check check-full check-unit check-bats check-module check-debug prepare-unit prepare-bats prepare-module
prepare-unit:
	$(Q)scripts/setup build check
	$(Q)$(sub) all
	$(Q)$(sub) SAN=1 unit
prepare-bats:
	$(Q)scripts/setup build guest check
	$(Q)$(sub) all
	$(Q)scripts/guest-image check
# The module's tests run in a VM whose emulated processor has AMD-V, or VT-x.
prepare-module:
	$(Q)scripts/setup build guest check module
	$(Q)$(sub) all selftests
	$(Q)$(sub) modules selftests-modules KERNEL=generic
	$(Q)$(sub) modules selftests-modules KERNEL=6.12
	$(Q)$(sub) modules selftests-modules KERNEL=cloud
	$(Q)scripts/guest-image demo
check:
	$(Q)rm -f $(O)/check/summary
	$(Q)$(sub) prepare-unit
	$(Q)$(sub) prepare-bats
	$(Q)$(sub) prepare-module
	$(Q)$(sub) prepare-fuzz
	$(Q)scripts/check unit bats fuzz module
check-full:
	$(Q)rm -f $(O)/check/summary
	$(Q)$(sub) prepare-unit
	$(Q)$(sub) prepare-bats
	$(Q)$(sub) prepare-module
	$(Q)scripts/guest-image full
	$(Q)TEST_CLASS=1000000 scripts/check unit full module-full
check-unit: prepare-unit
	$(Q)scripts/check unit
check-bats: prepare-bats
	$(Q)scripts/check bats
check-module: prepare-module
	$(Q)scripts/check module
# On a kernel that finds mistakes, which is built first.
check-debug:
	$(Q)scripts/setup build guest check module debug
	$(Q)scripts/guest-kernel
	$(Q)$(sub) all selftests
	$(Q)$(sub) modules KERNEL=debug
	$(Q)scripts/check module-debug

# tenon.ko: modules, selftests, modules_install, dkms-install
include scripts/kmod.mk

.PHONY: fuzz prepare-fuzz
prepare-fuzz:
	$(Q)scripts/setup build check
	$(Q)$(sub) all
	$(Q)$(sub) FUZZ=1 fuzzers
fuzz: prepare-fuzz
	$(Q)scripts/fuzz $(TIME)

.PHONY: bench
bench:
	$(Q)scripts/setup build guest bench
	$(Q)$(sub) all
	$(Q)tools/testing/bench/run

.PHONY: install
man1 := $(wildcard Documentation/man/*.1)
install: all
	install -D -m 755 $(B)/tenon $(DESTDIR)$(PREFIX)/bin/tenon
	$(if $(man1),install -d $(DESTDIR)$(PREFIX)/share/man/man1 && \
		install -m 644 $(man1) $(DESTDIR)$(PREFIX)/share/man/man1/)

# What was fetched and the guest images ($(O)/guest, $(O)/bench) stay; distclean takes them too.
.PHONY: clean distclean
clean:
	rm -rf $(addprefix $(O)/,emul launcher tools unit san fuzz check modules style selftests selftests-modules kernel-tree tenon libemul.a liblauncher.a)
distclean:
	rm -rf $(O)

.PHONY: help
help:
	@echo 'make              build $(O)/tenon (SAN=1: with sanitizers, $(O)/san/tenon)'
	@echo 'make demo         boot a Linux guest to its shell, here, now'
	@echo 'make check        build and pass every test: unit tests, and a sample of guests'
	@echo 'make check-full   the same with every guest and setting (hours)'
	@echo 'make check-unit   unit tests alone, in the sanitizer build'
	@echo 'make check-bats   command line and guests alone'
	@echo 'make unit         build the unit tests'
	@echo 'make modules      build tenon.ko (KERNEL=generic: Debian 6.1, or 6.12; KERNELDIR=DIR)'
	@echo 'make check-module the tests of the module, in a test bed'
	@echo 'make check-debug  the same on a kernel with lockdep, KASAN and kmemleak, which is built first'
	@echo 'make check-style  checkpatch, sparse and W=1 for the module'
	@echo 'make dkms-install install the sources of the module for DKMS'
	@echo 'make fuzz         run every fuzzer for TIME seconds'
	@echo 'make bench        boot and CPU benchmarks against QEMU TCG and Bochs, as ratios (BENCH=ROWS, REPS=N)'
	@echo 'make install      install to DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)'
	@echo 'make clean        remove what was built; distclean also what was fetched (kernels, guest images)'
	@echo
	@echo 'O=DIR builds elsewhere, V=1 shows commands. demo, check and bench install the Debian packages they'
	@echo 'lack; "scripts/setup --dry-run build guest check bench" says which those are.'
