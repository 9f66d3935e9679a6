/* SPDX-License-Identifier: BSD-2-Clause */
/* A build without libcurl. */
#include <stddef.h>
#include "net/store_impl.h"

const tsri_store_driver *tsri_store_http(void)
{
    return NULL;
}

const tsri_store_driver *tsri_store_s3(void)
{
    return NULL;
}
