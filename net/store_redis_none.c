/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without hiredis. */
#include <stddef.h>
#include "net/store_impl.h"

const tsri_store_driver *tsri_store_redis(void)
{
    return NULL;
}
