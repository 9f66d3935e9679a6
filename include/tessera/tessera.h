/* SPDX-License-Identifier: BSD-2-Clause */
/** Everything of libtessera; libtessera-net has <tessera/kv_stream.h>, which
 *  includes <tessera/store.h>, and <tessera/kv_control.h>. */
#ifndef TSR_TESSERA_H
#define TSR_TESSERA_H
#include <tessera/audio.h>
#include <tessera/context.h>
#include <tessera/cuda.h>
#include <tessera/ecdc.h>
#include <tessera/entropy.h>
#include <tessera/error.h>
#include <tessera/find.h>
#include <tessera/image.h>
#include <tessera/import.h>
#include <tessera/io.h>
#include <tessera/kv.h>
#include <tessera/kv_cachegen.h>
#include <tessera/kv_chunk.h>
#include <tessera/kv_cuda.h>
#include <tessera/mcq.h>
#include <tessera/media.h>
#include <tessera/model.h>
#include <tessera/stream.h>
#include <tessera/tokens.h>
#include <tessera/version.h>
#include <tessera/video.h>
#include <tessera/vq.h>
#endif
