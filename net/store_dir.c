/* SPDX-License-Identifier: BSD-2-Clause */
/* Folders come next. */
#include <stddef.h>
#include "net/store_impl.h"

const tsri_store_driver *tsri_store_dir(void)
{
    return NULL;
}
