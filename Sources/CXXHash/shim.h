#pragma once
// The whole hash is inlined into its callers: a call through the shared library costs more than hashing a short key.
#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t auspex_xxh3(const void *data, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(data, count, seed);
}
