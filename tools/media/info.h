/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_MEDIA_INFO_H
#define TOOLS_MEDIA_INFO_H
#include "tools/args.h"
#include "tools/input.h"

/** What a .tess file of several streams holds, for `tessera info`.  Returns an
 *  exit status; has said what was wrong. */
int media_info(tsr_context *ctx, const args *a, input *in);
#endif
