/* SPDX-License-Identifier: BSD-2-Clause */
/* The models of sound on this machine, as a list for hosts that ask what
 * plugins there are: read from the heads of the files, their weights untouched.
 * What a head says is believed for the list only; opening a model checks it. */
#ifndef TOOLS_FFMPEG_CATALOG_H
#define TOOLS_FFMPEG_CATALOG_H
#include <stddef.h>

enum { CATALOG_NAME = 64 };

typedef struct catalog_model {
    char name[CATALOG_NAME];    /* as tsr_model_open() wants it */
    int rate;                   /* samples a second; 0: not known */
    int channels;               /* coded together, 1 or 2 */
} catalog_model;

/** Lists at most `room` models in the order they are found, "sound", the
 *  default, always the first, even if it is not there.  Returns how many. */
size_t catalog_sound(catalog_model *list, size_t room);
#endif
