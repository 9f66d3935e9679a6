/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdatomic.h>
#include <tessera/context.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define UNKNOWN (1u << 31)

static atomic_uint allowed = ~0u;
/* Asked for once: cpuid takes microseconds on a virtual machine. */
static atomic_uint found = UNKNOWN;

#if defined(__x86_64__)
/* Half floats; clang's __builtin_cpu_supports() does not know them. */
static int has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & bit_F16C;
}
#endif

static unsigned detect(void)
{
    unsigned flags = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        has_f16c() && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
        __builtin_cpu_supports("sse4.2"))
        flags |= TSR_CPU_AVX2;
    if ((flags & TSR_CPU_AVX2) && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        flags |= TSR_CPU_AVX512;
#endif
    return flags;
}

unsigned tsr_cpu_flags(void)
{
    unsigned flags = atomic_load(&found);

    if (flags == UNKNOWN) {
        flags = detect();
        atomic_store(&found, flags);
    }
    return flags & atomic_load(&allowed);
}

void tsr_cpu_set_mask(unsigned mask)
{
    atomic_store(&allowed, mask);
}
