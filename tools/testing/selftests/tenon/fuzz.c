// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz.c - random callers and random guests
 *
 *	fuzz calls|guests|storms|all [--seed N] [--seconds N] [--threads N] [--round N] [--verbose]
 *
 * Rounds of some seconds, each a process of its own, of which some are killed: threads make calls that look valid on VMs,
 * vCPUs and mappings that they share (calls); guests of random code, on random page tables and in random states (guests);
 * guests that send themselves and each other interrupts as fast as they can, by IPI and by every timer (storms). What
 * comes of a call does not matter. A round that dies by itself or does not come to an end is a failure, and so is a host
 * that answers late; the kernel's log is for the caller to look at.
 *
 * What a thread does follows from the seed, the round and the thread's number alone; which thread comes first does not.
 * The seed is printed: with it and --round, the same round comes again, with --verbose call by call.
 */
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "fuzz.h"

#define ROUND_MS 2500

static uint64_t seed;
static unsigned int round_nr, nthreads = 4, slow = 1;
static int noise;		/* ARENA bytes to fill memory with */

bool verbose, emulated, no_long, keep_long;
int node;
uint8_t *arena;
size_t run_size;
_Atomic int vms[3], vcpus[6], events[4];
void *_Atomic runs[6];
_Atomic unsigned long calls, entries;
_Atomic bool stop;

/* ---- random numbers ---- */

static __thread uint64_t rnd_state;

void seed_thread(uint64_t seed)
{
	rnd_state = seed;
}

uint64_t rnd(void)
{
	rnd_state ^= rnd_state >> 12;
	rnd_state ^= rnd_state << 25;
	rnd_state ^= rnd_state >> 27;
	return rnd_state * 0x2545f4914f6cdd1dull;
}

uint64_t below(uint64_t n)
{
	return (rnd() >> 11) % n;
}

bool one_in(unsigned int n)
{
	return !below(n);
}

uint64_t value(void)
{
	const uint64_t r = rnd();

	switch (below(6)) {
	case 0:
		return r % 16;
	case 1:
		return 1ull << r % 64;
	case 2:
		return (1ull << r % 64) - 1;
	case 3:
		return r % ARENA & -PAGE;
	case 4:
		return r % ARENA;
	default:
		return r;
	}
}

uint64_t thread_seed(unsigned int thread)
{
	uint64_t x = seed + 0x9e3779b97f4a7c15 * (round_nr * MAX_THREADS + thread + 1);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31 ?: 1;
}

int call_(const char *name, int fd, unsigned long cmd, unsigned long arg)
{
	int ret;

	calls++;
	if (verbose)
		printf("# %d: %s on %d, %#lx\n", gettid(), name, fd, arg);
	ret = ioctl(fd, cmd, arg);
	if (verbose)
		printf("# %d: = %d, %s\n", gettid(), ret, ret < 0 ? strerror(errno) : "");
	return ret;
}

/* ---- what memory holds ---- */

/* Instructions that leave the guest, change its mode, or look at what is not there. */
#define INSNS	/* ENTERS: what keep_long leaves out */				\
	I("in $0x40, %al") I("out %al, $0x43") I("out %al, $0x40") I("in %dx, %eax") I("out %eax, %dx") I("out %al, $0x20")	\
	I("rep insb") I("rep outsl") I("cpuid") I("hlt") I("sti") I("cli") I("vmmcall") I("rdmsr") I("wrmsr") I("rdtsc") I("pause")	\
	I("mov %eax, (%ebx)") I("mov (%ebx), %eax") I("lock xadd %eax, (%ebx)") I("addl $1, 0x80(%ebx)") I("movl %eax, 0x300(%ebx)")	\
	I("movl $0xfee00000, %ebx") I("movl $0xfec00000, %ebx") I("movl $0x800, %ecx") I("incl %ecx") I("movl $0x6e0, %ecx")	\
	I("mov $0x4b564d01, %ecx") ENTERS("mov $0xc0000080, %ecx") I("add $0x10, %ebx") I("movups %xmm0, (%ebx)") I("rep movsl")	\
	I("rep stosb") I("cmpxchg8b (%ebx)") I("xsetbv") I("wbinvd") I("invlpg (%ebx)") I("clts") I("mov %cr0, %rax")	\
	ENTERS("mov %rax, %cr0") I("mov %rax, %cr3") I("mov %cr4, %rax") I("mov %rax, %cr4") I("mov %rax, %cr8")	\
	I("mov %rax, %dr7") I("mov %dr6, %rax") I("lidt (%ebx)") I("lgdt (%ebx)") I("ltr %ax") I("mov %eax, %ss")	\
	I("mov %eax, %fs") I("int3") I("int $0x80") I("ud2")	\
	I("iretq") I("lretq") I("syscall") I("sysretl") I("vmrun") I("clgi") I("monitor") I("mwait") I("rsm") I("xchg %eax, %ebx")	\
	I("bt %eax, (%ebx)") I("push %rax") I("pop %rbx") I("jmp .") I(".byte 0xf1") I("popf") I("pushf") I("rdpmc") I("swapgs")
#define I(text) INSN(0, text);
#define ENTERS(text) INSN(1, text);
INSNS
#undef I

static void put_code(uint8_t *page)
{
	size_t at = 0;

	while (at < PAGE - 16) {
		const struct insn *insn = &__start_insns[below(__stop_insns - __start_insns)];

		if (keep_long && insn->flags)
			continue;
		memcpy(page + at, insn->code, insn->len);
		at += insn->len;
		if (one_in(24))
			page[at++] = rnd();
	}
}

static void put_table(uint8_t *page)
{
	uint64_t *entry = (uint64_t *)page;
	unsigned int n;

	for (n = 0; n < 512; n++) {
		entry[n] = below(ARENA / PAGE) * PAGE | 7;
		if (one_in(4))
			entry[n] ^= 1ull << below(13);
		if (one_in(16))
			entry[n] = (n << 21) | 0x87;
		if (one_in(64))
			entry[n] = rnd();
	}
}

/* The same for all threads of a round: pages of code, of tables, of noise, and of nothing. */
static void make_noise(void)
{
	uint8_t *map = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, noise, 0);
	size_t at, k;

	for (at = 0; at < ARENA; at += PAGE) {
		switch (below(4)) {
		case 0:
			put_code(map + at);
			break;
		case 1:
			put_table(map + at);
			break;
		case 2:
			for (k = 0; k < PAGE; k += 8)
				memcpy(map + at + k, &(uint64_t){ rnd() }, 8);
			break;
		default:
			memset(map + at, 0, PAGE);
			break;
		}
	}
	munmap(map, ARENA);
}

void fill(void *where, size_t len)
{
	if (pread(noise, where, len, below(ARENA / PAGE) * PAGE) < 0)
		return;
}

/* ---- rounds ---- */

static void on_kick(int sig)
{
	(void)sig;
}

void kick_often(void)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2, ._sigev_un._tid = gettid(),
	};
	struct itimerspec when = { { 0, 3000000 }, { 0, 3000000 } };
	timer_t timer;

	if (timer_create(CLOCK_MONOTONIC, &event, &timer) || timer_settime(timer, 0, &when, NULL))
		_exit(3);
}

enum play { CALLS, GUESTS, STORMS };
static const char *const mode_names[] = { "calls", "guests", "storms" };

struct result {
	_Atomic unsigned long calls, entries, interrupts;
};

static void play(enum play mode, struct result *result)
{
	void *(*const fn)(void *) = mode == CALLS ? fuzz_caller : mode == GUESTS ? fuzz_guest : storm_vcpu;
	const unsigned int count = mode == CALLS ? nthreads : 2;
	pthread_t thread[MAX_THREADS + 1];
	unsigned int n, made = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGUSR2, on_kick);
	seed_thread(thread_seed(MAX_THREADS - 1));
	no_long = emulated && one_in(2);
	keep_long = emulated && !no_long;
	noise = memfd_create("noise", MFD_CLOEXEC);
	if (noise < 0 || ftruncate(noise, ARENA))
		_exit(4);
	make_noise();
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (n = 0; n < COUNT(vms); n++)
		vms[n] = -1;
	for (n = 0; n < COUNT(vcpus); n++)
		vcpus[n] = -1;
	for (n = 0; n < COUNT(events); n++)
		events[n] = eventfd(0, EFD_NONBLOCK);
	/* Callers find a whole VM, or make what they can out of nothing. */
	if ((mode != CALLS || one_in(2)) && new_vm(2))
		_exit(5);
	if (mode == STORMS)
		put_storms(2);
	for (n = 0; n < count; n++)
		made += !pthread_create(&thread[n], NULL, fn, (void *)(intptr_t)n);
	if (mode == STORMS)
		made += !pthread_create(&thread[n], NULL, storm_host, NULL);
	for (n = 0; n < ROUND_MS / 50; n++) {
		usleep(50000);
		result->calls = calls;
		result->entries = entries;
		result->interrupts = mode == STORMS ? STORM_COUNT[0] : 0;
	}
	stop = true;
	for (n = 0; n < made; n++)
		pthread_join(thread[n], NULL);
	_exit(made == count + (mode == STORMS) ? 0 : 6);
}

static uint64_t worst_ns;

/* A while later, and by how much it was later than asked for. */
static void nap(unsigned int ms)
{
	const uint64_t before = now_ns();
	uint64_t late;

	usleep(ms * 1000);
	late = now_ns() - before - ms * 1000000ull;
	if (late > worst_ns)
		worst_ns = late;
}

/*
 * On the emulated processor of QEMU (TCG, 7.2), a guest that leaves with EFER.LME set while CR0.PG and CR4.PAE are clear
 * takes the host along: cpu_x86_update_cr0(), called for the host's CR0 before its CR4 is back, finds paging switched on for
 * long mode without PAE and returns, and the host goes on with the guest's CR0, in physical memory. kvm_amd does no better
 * there. In each round, a guest then either has no long mode or does not change EFER and CR0.
 */
static bool runs_on_tcg(void)
{
	uint32_t max, name[3];

	__cpuid(0x40000000, max, name[0], name[1], name[2]);
	return max >= 0x40000000 && !memcmp(name, "TCGTCGTCGTCG", sizeof(name));
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* 0, or what was wrong with the round. */
static const char *play_round(enum play mode, struct result *result)
{
	const unsigned int patience = 20000 * slow;
	static char text[64];
	unsigned int kill_at, ms;
	int status;
	pid_t pid;

	seed_thread(thread_seed(MAX_THREADS - 2));
	kill_at = one_in(3) ? 50 + below(ROUND_MS) : 0;
	fflush(stdout);
	pid = fork();
	if (!pid)
		play(mode, result);
	for (ms = 0; ms < ROUND_MS + patience; ms += 10) {
		if (kill_at && ms >= kill_at) {
			kill(pid, SIGKILL);
			kill_at = 0;
		}
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		nap(10);
	}
	if (ms >= ROUND_MS + patience)
		return "it does not come to an end";
	if ((WIFEXITED(status) && !WEXITSTATUS(status)) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		return NULL;
	snprintf(text, sizeof(text), "%s %d", WIFEXITED(status) ? "exit status" : "signal",
		 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return text;
}

static bool play_mode(enum play mode, unsigned int number, unsigned int seconds, long only)
{
	struct result *result = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const uint64_t end = now_ns() + seconds * 1000000000ull;
	unsigned long ncalls = 0, nentries = 0, interrupts = 0;
	const char *bad = NULL;
	bool good;

	worst_ns = 0;
	for (round_nr = only < 0 ? 0 : only; !bad && (round_nr == 0 || now_ns() < end || only >= 0); round_nr++) {
		memset(result, 0, sizeof(*result));
		bad = play_round(mode, result);
		if (bad)
			printf("# round %u: %s; again: fuzz %s --seed %#lx --threads %u --round %u --verbose\n", round_nr, bad,
			       mode_names[mode], (long)seed, nthreads, round_nr);
		ncalls += result->calls;
		nentries += result->entries;
		interrupts += result->interrupts;
		if (only >= 0)
			break;
	}
	printf("# %s: %u rounds, %lu calls, %lu of KVM_RUN that ran, %lu interrupts; the host was %ld ms late at most\n",
	       mode_names[mode], round_nr, ncalls, nentries, interrupts, (long)(worst_ns / 1000000));
	/* Something has to have happened, too. */
	good = !bad && worst_ns < 5000000000ull * slow && ncalls > 100 && (mode == STORMS ? interrupts : nentries) > 10;
	printf("%sok %u - random %s\n", good ? "" : "not ", number, mode_names[mode]);
	return good;
}

int main(int argc, char **argv)
{
	const char *path = getenv("TENON_DEV") ?: "/dev/tenon", *what = argc > 1 ? argv[1] : "";
	const bool all = !strcmp(what, "all");
	unsigned int seconds = 60, n, number = 0, modes = 0;
	long only = -1;
	bool good = true;
	int i;

	seed = now_ns() ^ (uint64_t)getpid() << 32;
	for (i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--verbose"))
			verbose = true;
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--seconds"))
			seconds = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--threads"))
			nthreads = strtoul(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--round"))
			only = strtol(argv[++i], NULL, 0);
		else
			what = "";
	}
	for (n = 0; n < COUNT(mode_names); n++)
		modes += all || !strcmp(what, mode_names[n]);
	if (!modes || nthreads < 1 || nthreads > MAX_THREADS - 2) {
		fprintf(stderr, "usage: fuzz calls|guests|storms|all [--seed N] [--seconds N] [--threads N] [--round N] [--verbose]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	slow = getenv("TENON_SLOW") ? atoi(getenv("TENON_SLOW")) : 1;
	emulated = runs_on_tcg();
	node = open(path, O_RDWR | O_CLOEXEC);
	if (node < 0) {
		printf("Bail out! %s does not open: %s\n", path, strerror(errno));
		return 1;
	}
	run_size = ioctl(node, KVM_GET_VCPU_MMAP_SIZE, 0);
	/* The first VM patches the kernel, and the last: in the test bed, the fewer the better. */
	ioctl(node, KVM_CREATE_VM, 0);
	printf("TAP version 13\n1..%u\n# --seed %#lx\n", modes, (long)seed);
	for (n = 0; n < COUNT(mode_names); n++) {
		if (all || !strcmp(what, mode_names[n]))
			good &= play_mode(n, ++number, seconds, only);
	}
	return !good;
}
