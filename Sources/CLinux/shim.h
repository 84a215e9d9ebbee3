#pragma once
// Calls of Linux that Swift's Glibc module does not carry.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

extern ssize_t preadv2(int fd, const struct iovec *iov, int iovcnt, off_t offset, int flags);
extern int fallocate(int fd, int mode, off_t offset, off_t length);

/// pread that returns -EAGAIN instead of waiting for the disk; other failures are -errno.
static inline ssize_t auspex_pread_nowait(int fd, void *buffer, size_t count, off_t offset) {
    struct iovec one = {buffer, count};
    ssize_t got = preadv2(fd, &one, 1, offset, RWF_NOWAIT);
    return got < 0 ? -errno : got;
}

/// fallocate; 0 or -errno.
static inline int auspex_fallocate(int fd, off_t offset, off_t length) {
    return fallocate(fd, 0, offset, length) == 0 ? 0 : -errno;
}
