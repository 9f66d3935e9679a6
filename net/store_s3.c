/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/curl.h"

const tsri_store_driver *tsri_store_s3(void)
{
    return NULL;
}
