/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * seed.h - a disk that tells cloud-init who may log in
 */
#ifndef TENON_SEED_H
#define TENON_SEED_H

struct seed {
	const char *user, *ssh_key, *host;	/* name, file of public keys, host name or NULL */
};

/* "user=NAME,ssh-key=FILE[,host=NAME]"; @s is changed and must live on. 0, or -EINVAL with a message printed. */
int seed_parse(char *s, struct seed *seed);
/* Make the disk, in memory. Returns a file descriptor, or -errno with a message printed. */
int seed_create(const struct seed *seed);

#endif /* TENON_SEED_H */
