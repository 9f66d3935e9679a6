/* SPDX-License-Identifier: BSD-2-Clause */
/* profile without LAPACK. */
#include "tools/kv/verbs.h"
#include "tools/say.h"

int kv_profile(args *a)
{
    (void)a;
    return say_error(RC_USAGE, NULL, "kv profile: this build has no LAPACK"
                     " (OpenBLAS was not found when it was configured)");
}
