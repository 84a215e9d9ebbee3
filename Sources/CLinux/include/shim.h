#pragma once
// Calls of Linux that Swift's Glibc module does not carry. Only the plainest headers: a feature macro here would give types of the C library
// a second definition beside the module's.
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct auspex_iovec {
    void *base;
    size_t count;
};

struct auspex_pollfd {
    int fd;
    short events;
    short revents;
};

struct auspex_timespec {
    long seconds;
    long nanoseconds;
};

extern int auspex_ppoll_call(struct auspex_pollfd *fds, unsigned long count, const struct auspex_timespec *limit, const void *mask) __asm__("ppoll");
extern long auspex_preadv2(int fd, const struct auspex_iovec *parts, int count, long offset, int flags) __asm__("preadv2");
extern int auspex_fallocate_call(int fd, int mode, long offset, long length) __asm__("fallocate");
extern int auspex_setname_call(unsigned long thread, const char *name) __asm__("pthread_setname_np");
extern unsigned long auspex_self_call(void) __asm__("pthread_self");

/// pread that returns -EAGAIN instead of waiting for the disk; other failures are -errno.
static inline long auspex_pread_nowait(int fd, void *buffer, size_t count, long offset) {
    struct auspex_iovec one = {buffer, count};
    long got = auspex_preadv2(fd, &one, 1, offset, 0x00000008 /* RWF_NOWAIT */);
    return got < 0 ? -errno : got;
}

/// fallocate; 0 or -errno.
static inline int auspex_fallocate(int fd, long offset, long length) {
    return auspex_fallocate_call(fd, 0, offset, length) == 0 ? 0 : -errno;
}

/// Names the calling thread, as `top -H` and `perf` show it; at most 15 bytes.
static inline void auspex_name_thread(const char *name) { auspex_setname_call(auspex_self_call(), name); }

extern int auspex_mallopt_call(int parameter, int value) __asm__("mallopt");

/// Has allocations from this size on mapped for themselves, so that their pages go back to the system when they are freed.
static inline void auspex_map_allocations(int bytes) { auspex_mallopt_call(-3 /* M_MMAP_THRESHOLD */, bytes); }

/// poll of one descriptor with a limit in nanoseconds, none when negative: the events that are ready, 0 when the time ran out, or -errno.
static inline int auspex_poll_nanoseconds(int fd, short events, int64_t nanoseconds) {
    struct auspex_pollfd entry = {fd, events, 0};
    struct auspex_timespec limit = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    int ready = auspex_ppoll_call(&entry, 1, nanoseconds < 0 ? 0 : &limit, 0);
    return ready < 0 ? -errno : ready == 0 ? 0 : entry.revents;
}
