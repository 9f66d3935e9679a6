/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_CODEBOOK_NEST_H
#define TOOLS_CODEBOOK_NEST_H
#include "tools/args.h"

/** The verb `nest`: the files are a model, unless -i names it, and pictures.
 *  Returns an exit status. */
int codebook_nest(args *a);
#endif
