/* SPDX-License-Identifier: BSD-2-Clause */
/* serve without libmicrohttpd. */
#include "tools/kv/verbs.h"
#include "tools/say.h"

int kv_serve(args *a)
{
    (void)a;
    return say_error(RC_USAGE, NULL, "kv serve: this build has no server"
                     " (libmicrohttpd was not found when it was configured)");
}
