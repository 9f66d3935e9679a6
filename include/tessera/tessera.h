/* SPDX-License-Identifier: BSD-2-Clause */
/** Everything of the library. */
#ifndef TSR_TESSERA_H
#define TSR_TESSERA_H
#include <tessera/audio.h>
#include <tessera/context.h>
#include <tessera/ecdc.h>
#include <tessera/entropy.h>
#include <tessera/error.h>
#include <tessera/find.h>
#include <tessera/image.h>
#include <tessera/import.h>
#include <tessera/io.h>
#include <tessera/kv.h>
#include <tessera/kv_cachegen.h>
#include <tessera/mcq.h>
#include <tessera/media.h>
#include <tessera/model.h>
#include <tessera/stream.h>
#include <tessera/tokens.h>
#include <tessera/version.h>
#include <tessera/video.h>
#include <tessera/vq.h>
#endif
