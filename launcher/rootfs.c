// SPDX-License-Identifier: GPL-2.0-only
/*
 * rootfs.c - tenon run --rootfs: a directory of the host as the guest's root file system, and a command in it
 *
 * The guest's kernel starts with an initial RAM disk that is made here, in memory: the program of
 * launcher/init, what it is to do, and those modules of the kernel that are needed to mount the directory.
 * Which those are is read from the modules.dep and modules.builtin that depmod(8) wrote.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lzma.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpio.h"
#include "msg.h"
#include "rootfs.h"

#define TAG		"tenon-root"
#define MODULE_MAX	(64u << 20)	/* no module is as large */
#define MAX_MODULES	64u
#define CONFIG_MAX	(200u << 10)	/* what the init program takes, less some */
#define CONFIG_STRINGS	4000u

/*
 * loglevel=1: of the kernel's messages the console gets a panic only. A guest that has panicked resets, and
 * that ends the run. Lockup detectors would see a busy host as a fault of the guest.
 */
#define CMDLINE		"console=ttyS0 quiet loglevel=1 nowatchdog panic=-1 rdinit=/init"

/* The program, as the Makefile has put it into the launcher. */
extern const char init_start[] __asm__("_binary_tenon_init_start");
extern const char init_end[] __asm__("_binary_tenon_init_end");

/* Files */

/* All of a file, with a NUL behind it; NULL with errno set. */
static char *read_file(const char *path, size_t max, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = 0;
	struct stat st;
	char *buf = NULL;
	size_t n = 0;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st))
		err = errno;
	else if (!S_ISREG(st.st_mode))
		err = EINVAL;
	else if ((uint64_t)st.st_size > max)
		err = EFBIG;
	else if (!(buf = malloc((size_t)st.st_size + 1)))
		err = ENOMEM;
	while (!err && n < (size_t)st.st_size) {
		ssize_t got = read(fd, buf + n, (size_t)st.st_size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err = errno;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	close(fd);
	if (err) {
		free(buf);
		errno = err;
		return NULL;
	}
	buf[n] = '\0';
	*len = n;
	return buf;
}

/* NULL with errno set if @data is not an xz file that can be unpacked. */
static char *unpack_xz(const char *data, size_t len, size_t *out_len)
{
	lzma_stream strm = LZMA_STREAM_INIT;
	size_t size = len * 4 + 65536;
	char *out = NULL, *more;
	lzma_ret ret = lzma_stream_decoder(&strm, 256u << 20, 0);

	strm.next_in = (const uint8_t *)data;
	strm.avail_in = len;
	while (ret == LZMA_OK) {
		more = size <= MODULE_MAX ? realloc(out, size) : NULL;
		if (!more)
			break;
		out = more;
		strm.next_out = (uint8_t *)out + strm.total_out;
		strm.avail_out = size - strm.total_out;
		ret = lzma_code(&strm, LZMA_FINISH);
		size *= 2;
	}
	*out_len = strm.total_out;
	lzma_end(&strm);
	if (ret == LZMA_STREAM_END)
		return out;
	free(out);
	errno = ret == LZMA_OK ? ENOMEM : EINVAL;
	return NULL;
}

/* The kernel */

static int by_version(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static int is_kernel(const struct dirent *d)
{
	return !strncmp(d->d_name, "vmlinuz-", 8);
}

static char *newest_kernel(const char *boot)
{
	struct dirent **list;
	char *found = NULL;
	int n = scandir(boot, &list, is_kernel, by_version);

	for (int i = n - 1; i >= 0; i--) {
		if (!found && asprintf(&found, "%s/%s", boot, list[i]->d_name) > 0 && access(found, R_OK)) {
			free(found);
			found = NULL;
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return found;
}

static int find_kernel(const struct rootfs *rootfs, struct vm_config *config)
{
	char *boot = NULL;

	if (config->kernel)
		return 0;
	config->kernel = newest_kernel("/boot");
	if (!config->kernel && asprintf(&boot, "%s/boot", rootfs->dir) > 0) {
		config->kernel = newest_kernel(boot);
		free(boot);
	}
	if (config->kernel)
		return 0;
	msg_error("--rootfs: there is no kernel to start: neither /boot nor '%s/boot' has a vmlinuz-* that can "
		  "be read. Name one with --kernel, and its modules with --modules", rootfs->dir);
	return -ENOENT;
}

/*
 * The release that a bzImage says it is (The Linux/x86 Boot Protocol, "kernel_version"): 0, or -ENOENT for
 * other images.
 */
static int kernel_release(const char *kernel, char *release, size_t size)
{
	uint8_t head[0x210];
	char text[256] = "";
	uint16_t at;
	int fd = open(kernel, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err = -ENOENT;

	if (fd < 0)
		return -errno;
	if (pread(fd, head, sizeof(head), 0) == sizeof(head) && !memcmp(head + 0x202, "HdrS", 4)) {
		at = head[0x20e] | head[0x20f] << 8;
		if (at && pread(fd, text, sizeof(text) - 1, at + 0x200) > 0) {
			text[strcspn(text, " \n")] = '\0';
			if (*text && !strchr(text, '/') && strlen(text) < size) {
				strcpy(release, text);
				err = 0;
			}
		}
	}
	close(fd);
	return err;
}

/* Modules */

struct modules {
	char *dir;
	char *dep, *builtin;		/* contents of modules.dep and modules.builtin */
	struct {
		const char *path;	/* relative to dir; points into dep, ended by a space or the like */
		bool may_fail;
	} list[MAX_MODULES];
	unsigned int nr;
};

static size_t path_len(const char *path)
{
	return strcspn(path, ": \n");
}

/* Is "kernel/fs/9p/9p.ko.xz" the module "9p"? Dashes and underscores are the same. */
static bool is_module(const char *path, const char *name)
{
	size_t len = path_len(path);
	const char *base = path + len;

	while (base > path && base[-1] != '/')
		base--;
	while (*name && (*base == *name || (*base == '-' && *name == '_')))
		base++, name++;
	return !*name && !strncmp(base, ".ko", 3);
}

static const char *find_line(const char *text, const char *name)
{
	while (text && *text) {
		if (is_module(text, name))
			return text;
		text = strchr(text, '\n');
		if (text)
			text++;
	}
	return NULL;
}

static int modules_add_path(struct modules *m, const char *path, bool may_fail)
{
	size_t len = path_len(path);

	for (unsigned int i = 0; i < m->nr; i++)
		if (path_len(m->list[i].path) == len && !memcmp(m->list[i].path, path, len))
			return 0;
	if (m->nr == MAX_MODULES)
		return -E2BIG;
	m->list[m->nr].path = path;
	m->list[m->nr++].may_fail = may_fail;
	return 0;
}

/* A module and what it needs, in the order of loading. -ENOENT: the kernel has no such thing. */
static int modules_add(struct modules *m, const char *name, bool may_fail)
{
	const char *dep[MAX_MODULES], *line = find_line(m->dep, name);
	unsigned int nr = 0;
	int err = 0;

	if (!line)
		return find_line(m->builtin, name) ? 0 : -ENOENT;
	for (const char *p = line; nr < MAX_MODULES; ) {
		dep[nr++] = p;
		p += path_len(p);
		p += strspn(p, ": ");
		if (!*p || *p == '\n')
			break;
	}
	/* Each is listed before what it needs itself. */
	while (nr && !err)
		err = modules_add_path(m, dep[--nr], may_fail);
	return err;
}

__attribute__((format(printf, 2, 3)))
static bool try_dir(struct modules *m, const char *fmt, ...)
{
	char *path, *file;
	va_list ap;
	size_t len;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&path, fmt, ap);
	va_end(ap);
	if (n < 0)
		return false;
	if (asprintf(&file, "%s/modules.dep", path) > 0) {
		m->dep = read_file(file, MODULE_MAX, &len);
		free(file);
	}
	if (m->dep && asprintf(&file, "%s/modules.builtin", path) > 0) {
		m->builtin = read_file(file, MODULE_MAX, &len);
		free(file);
	}
	if (m->dep)
		m->dir = path;
	else
		free(path);
	return m->dep;
}

static bool find_modules(struct modules *m, const struct rootfs *rootfs, const char *release)
{
	if (rootfs->modules)
		return try_dir(m, "%s/lib/modules/%s", rootfs->modules, release) ||
		       try_dir(m, "%s/%s", rootfs->modules, release) || try_dir(m, "%s", rootfs->modules);
	return try_dir(m, "%s/lib/modules/%s", rootfs->dir, release) ||
	       try_dir(m, "%s/usr/lib/modules/%s", rootfs->dir, release) ||
	       try_dir(m, "/lib/modules/%s", release);
}

static int choose_modules(struct modules *m, const struct rootfs *rootfs, const char *kernel)
{
	static const struct {
		const char *name;
		bool overlay, may_fail;
	} wanted[] = {
		{ "virtio_pci", false, false },
		{ "9pnet_virtio", false, false },
		{ "9p", false, false },
		{ "overlay", true, false },
		{ "pvpanic_mmio", false, true },	/* tells of a panic; the ISA port is its, too */
	};
	char release[128] = "";
	int err;

	if (kernel_release(kernel, release, sizeof(release)) && !rootfs->modules)
		return 0;		/* no bzImage: it may have everything built in */
	if (!find_modules(m, rootfs, release)) {
		msg_error("--rootfs: the modules of kernel '%s' (%s) are neither in '%s%s%s' nor in /lib/modules "
			  "of this host. Install the kernel's package, or name the directory with --modules",
			  kernel, *release ? release : "of unknown release", rootfs->modules ? : rootfs->dir,
			  rootfs->modules ? "" : "/lib/modules/", rootfs->modules ? "" : release);
		return -ENOENT;
	}
	for (unsigned int i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		if (wanted[i].overlay && !rootfs->readonly)
			continue;
		err = modules_add(m, wanted[i].name, wanted[i].may_fail);
		if (!err || (err == -ENOENT && wanted[i].may_fail))
			continue;
		msg_error("--rootfs: kernel '%s' can't mount a directory of the host: '%s' is neither built in nor "
			  "among its modules in '%s'. Take a general-purpose kernel (Debian: linux-image-amd64; "
			  "the cloud kernels lack it)", kernel, wanted[i].name, m->dir);
		return -ENOENT;
	}
	return 0;
}

/* Unpacked if the host can; otherwise the kernel has to, and the init program asks it to. */
static int add_module(struct cpio *cpio, const struct modules *m, unsigned int i, char name[NAME_MAX + 1])
{
	size_t len = path_len(m->list[i].path), n, size;
	char path[PATH_MAX], to[NAME_MAX + 16], *data, *plain;
	const char *base;

	if (snprintf(path, sizeof(path), "%s/%.*s", m->dir, (int)len, m->list[i].path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	base = strrchr(path, '/') + 1;
	if (strlen(base) > NAME_MAX)
		return -ENAMETOOLONG;
	data = read_file(path, MODULE_MAX, &size);
	if (!data) {
		msg_error("--rootfs: read the kernel module '%s': %s", path, strerror(errno));
		return -EIO;
	}
	strcpy(name, base);
	n = strlen(name);
	if (n > 3 && !strcmp(name + n - 3, ".xz")) {
		plain = unpack_xz(data, size, &size);
		if (!plain) {
			msg_error("--rootfs: unpack the kernel module '%s': %s. Reinstall the kernel's package", path,
				  errno == EINVAL ? "it is damaged" : strerror(errno));
			free(data);
			return -EIO;
		}
		free(data);
		data = plain;
		name[n - 3] = '\0';
	}
	snprintf(to, sizeof(to), "modules/%s", name);
	cpio_file(cpio, to, 0644, data, size);
	free(data);
	return 0;
}

/* The initial RAM disk */

struct config_text {
	char buf[CONFIG_MAX];
	size_t len;
	unsigned int nr;
	bool full;
};

__attribute__((format(printf, 2, 3)))
static void say(struct config_text *c, const char *fmt, ...)
{
	size_t left = sizeof(c->buf) - c->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(c->buf + c->len, left, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= left || c->nr++ == CONFIG_STRINGS)
		c->full = true;
	else
		c->len += (size_t)n + 1;
}

static void say_config(struct config_text *c, const struct rootfs *rootfs)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	const char *term = getenv("TERM");
	struct winsize ws;

	say(c, "tag=%s", TAG);
	say(c, "overlay=%d", rootfs->readonly);
	/* What can't change under the guest may be kept by it. */
	say(c, "cache=%s", rootfs->readonly ? "loose" : "mmap");
	say(c, "tty=%d", tty);
	if (tty && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws)) {
		say(c, "rows=%u", ws.ws_row);
		say(c, "cols=%u", ws.ws_col);
	}
	say(c, "env=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	say(c, "env=HOME=/root");
	say(c, "env=TERM=%s", tty && term && *term ? term : "dumb");
	if (!rootfs->command || !rootfs->command[0])
		say(c, "arg=/bin/sh");
	for (char **arg = rootfs->command; arg && *arg; arg++)
		say(c, "arg=%s", *arg);
}

static int make_initrd(const struct rootfs *rootfs, const struct modules *m, struct vm_config *config)
{
	struct config_text *c = calloc(1, sizeof(*c));
	struct cpio cpio;
	char *path;
	int err;

	if (!c)
		return -ENOMEM;
	err = cpio_begin(&cpio);
	if (!err) {
		cpio_dir(&cpio, "dev");
		cpio_dir(&cpio, "root");
		cpio_dir(&cpio, "modules");
		cpio_file(&cpio, "init", 0755, init_start, (size_t)(init_end - init_start));
	}
	for (unsigned int i = 0; i < m->nr && !err && !cpio.err; i++) {
		char name[NAME_MAX + 1];

		err = add_module(&cpio, m, i, name);
		if (err)
			goto out;
		say(c, "module=%s%s", m->list[i].may_fail ? "?" : "", name);
	}
	say_config(c, rootfs);
	if (c->full) {
		msg_error("--rootfs: the command and its arguments are too long. Put them into a script in '%s'",
			  rootfs->dir);
		err = -E2BIG;
		goto out;
	}
	cpio_file(&cpio, "config", 0644, c->buf, c->len);
	err = cpio_end(&cpio);
	if (!err && asprintf(&path, "/proc/self/fd/%d", cpio.fd) < 0)
		err = -ENOMEM;
	if (err)
		msg_error("--rootfs: make the initial RAM disk: %s", strerror(-err));
	else
		config->initrd = path;
out:
	/* On success the descriptor stays: the machine reads it at every start. */
	if (err && cpio.fd >= 0)
		close(cpio.fd);
	free(c);
	return err;
}

int rootfs_prepare(const struct rootfs *rootfs, struct vm_config *config)
{
	struct rootfs r = *rootfs;
	struct modules m = { 0 };
	struct stat st, top;
	char *append;
	int err;

	if (stat(r.dir, &st) || stat("/", &top)) {
		err = -errno;
		msg_error("--rootfs: open '%s': %s. Check the path and its permissions", r.dir, strerror(-err));
		return err;
	}
	if (!S_ISDIR(st.st_mode)) {
		msg_error("--rootfs: '%s' is no directory. For a disk image use --disk", r.dir);
		return -ENOTDIR;
	}
	/* The host's own system, by whatever name, is never written to. */
	if (st.st_dev == top.st_dev && st.st_ino == top.st_ino)
		r.readonly = true;
	if (config->nr_shares == VM_MAX_SHARES) {
		msg_error("--rootfs: it takes one of the %u shares, and all are given away. Leave out a --share",
			  VM_MAX_SHARES);
		return -E2BIG;
	}
	for (unsigned int i = 0; i < config->nr_shares; i++) {
		if (strcmp(config->share[i].tag, TAG))
			continue;
		msg_error("--rootfs: the tag '%s' is that of the root file system. Give the share '%s' another", TAG,
			  config->share[i].path);
		return -EINVAL;
	}
	err = find_kernel(&r, config);
	if (!err)
		err = choose_modules(&m, &r, config->kernel);
	if (!err)
		err = make_initrd(&r, &m, config);
	free(m.dep);
	free(m.builtin);
	free(m.dir);
	if (err)
		return err;

	if (asprintf(&append, "%s%s%s", CMDLINE, config->append ? " " : "",
		     config->append ? config->append : "") < 0)
		return -ENOMEM;
	config->append = append;
	config->share[config->nr_shares++] = (struct vm_share){
		.path = r.dir,
		.tag = TAG,
		.readonly = r.readonly,
	};
	config->run_port = true;
	config->no_reboot = true;
	return 0;
}
