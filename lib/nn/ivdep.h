/* SPDX-License-Identifier: BSD-2-Clause */
/* TSRI_IVDEP before a loop: its iterations do not depend on each other, though
 * the compiler cannot see it. */
#ifndef TSR_LIB_NN_IVDEP_H
#define TSR_LIB_NN_IVDEP_H
#if defined(__clang__)
#define TSRI_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define TSRI_IVDEP _Pragma("GCC ivdep")
#else
#define TSRI_IVDEP
#endif
#endif
