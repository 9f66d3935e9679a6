/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <tessera/version.h>
#include "lib/core.h"
#include "lib/nn/backend.h"
#include "lib/cuda/device.h"
#include "lib/nn/cuda/nn_cuda.h"
#include "lib/pool.h"

enum { ALIGNMENT = 64, MAX_THREADS = 256 };

static void *default_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    const size_t rounded = (size + align - 1) / align * align;
    return rounded < size ? NULL : aligned_alloc(align, rounded);
}

static void default_free(void *cookie, void *memory)
{
    (void)cookie;
    free(memory);
}

void *tsri_alloc(tsr_context *ctx, size_t count, size_t size)
{
    size_t bytes;
    if (!tsri_mul(count, size, &bytes))
        return NULL;
    return ctx->allocator.alloc(ctx->allocator.cookie, bytes ? bytes : 1,
                                ALIGNMENT);
}

void *tsri_calloc(tsr_context *ctx, size_t count, size_t size)
{
    void *memory = tsri_alloc(ctx, count, size);
    if (memory)
        memset(memory, 0, count * size);
    return memory;
}

tsr_error tsri_grow(tsr_context *ctx, void *array, size_t *room, size_t used,
                    size_t more, size_t size)
{
    void **p = array, *bigger;
    size_t need;

    if (more <= *room - used)
        return TSR_OK;
    if (!tsri_add(used, more, &need) || !tsri_add(need, need / 2 + 64, &need))
        return TSR_E_NOMEM;
    bigger = tsri_alloc(ctx, need, size);
    if (!bigger)
        return TSR_E_NOMEM;
    if (used)
        memcpy(bigger, *p, used * size);
    tsri_free(ctx, *p);
    *p = bigger;
    *room = need;
    return TSR_OK;
}

void tsri_free(tsr_context *ctx, void *memory)
{
    if (memory)
        ctx->allocator.free(ctx->allocator.cookie, memory);
}

static void log_va(tsr_context *ctx, tsr_log_level level, const char *format,
                   va_list args)
{
    char line[1024];
    if (!ctx->logger.log)
        return;
    vsnprintf(line, sizeof line, format, args);
    ctx->logger.log(ctx->logger.cookie, level, line);
}

void tsri_log(tsr_context *ctx, tsr_log_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_va(ctx, level, format, args);
    va_end(args);
}

tsr_error tsri_fail(tsr_context *ctx, tsr_error error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_va(ctx, TSR_LOG_ERROR, format, args);
    va_end(args);
    return error;
}

tsr_error tsri_nomem(tsr_context *ctx)
{
    return tsri_fail(ctx, TSR_E_NOMEM, "out of memory");
}

void tsr_context_settings_init(tsr_context_settings *settings)
{
    *settings = (tsr_context_settings){
        .size = sizeof *settings,
        .threads = 1,
        .backend = "auto",
        .max_pixels = INT32_MAX,
        .max_memory = (uint64_t)1 << 30,
    };
}

/* A caller built with an older, shorter struct keeps the defaults of the
 * fields it does not know. */
static tsr_error take_settings(tsr_context_settings *own,
                               const tsr_context_settings *theirs)
{
    tsr_context_settings_init(own);
    if (!theirs)
        return TSR_OK;
    if (theirs->size < offsetof(tsr_context_settings, logger))
        return TSR_E_ARG;
    memcpy(own, theirs,
           theirs->size < sizeof *own ? theirs->size : sizeof *own);
    return own->threads < 0 || own->threads > MAX_THREADS || !own->backend ||
           own->precision < TSR_PRECISION_AUTO ||
           own->precision > TSR_PRECISION_BF16 ||
           !own->allocator.alloc != !own->allocator.free ? TSR_E_ARG : TSR_OK;
}

static int processors(void)
{
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

static tsr_error pick_backend(tsr_context *ctx, const char *name)
{
    const tsri_nn_backend *onednn = tsri_nn_onednn();
    const bool automatic = !strcmp(name, "auto");

    ctx->nn = tsri_nn_plain();
    if (!strcmp(name, "c"))
        return TSR_OK;
    if (!automatic && strcmp(name, "onednn"))
        return tsri_fail(ctx, TSR_E_ARG, "unknown backend '%s' (auto, c, onednn)",
                         name);
    if (!onednn && !automatic)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED,
                         "this build has no oneDNN backend");
    /* A mask that forbids vector code means plain C, unless asked by name. */
    if (onednn && (!automatic || ctx->cpu))
        ctx->nn = onednn;
    return TSR_OK;
}

/* The first line of what is said while a device is tried. */
typedef struct reason {
    char line[512];
} reason;

static void note_reason(void *cookie, tsr_log_level level, const char *message)
{
    reason *r = cookie;
    (void)level;
    if (!r->line[0])
        snprintf(r->line, sizeof r->line, "%s", message);
}

/* That there is none is no error where any will do. */
static tsr_error try_device(tsr_context *ctx)
{
    const tsr_logger logger = ctx->logger;
    reason why = { "" };

    ctx->logger = (tsr_logger){ &why, note_reason };
    const tsr_error error = tsri_nn_cuda_open(ctx, 0);
    ctx->logger = logger;
    if (error)
        tsri_log(ctx, TSR_LOG_INFO, "no GPU is used: %s", why.line);
    return TSR_OK;
}

/* "cuda" or "cuda:N"; -1: neither. */
static int device_index(const char *name)
{
    if (!strcmp(name, "cuda"))
        return 0;
    if (strncmp(name, "cuda:", 5) || !name[5] || strlen(name + 5) > 3 ||
        name[5 + strspn(name + 5, "0123456789")])
        return -1;
    return atoi(name + 5);
}

static tsr_error pick_device(tsr_context *ctx, const char *name)
{
    tsr_error error = TSR_OK;
    const int index = name ? device_index(name) : -1;

    snprintf(ctx->device, sizeof ctx->device, "cpu");
    if (!name || !strcmp(name, "cpu"))
        return TSR_OK;
    if (!strcmp(name, "auto"))
        error = try_device(ctx);
    else if (index < 0)
        return tsri_fail(ctx, TSR_E_ARG, "unknown device '%s' (cpu, auto, cuda,"
                         " cuda:N)", name);
    else
        error = tsri_nn_cuda_open(ctx, index);
    if (ctx->gpu) {
        ctx->keeps = true;
        ctx->device_index = tsri_max(index, 0);
        snprintf(ctx->device, sizeof ctx->device, "cuda:%d %s",
                 ctx->device_index, tsri_cuda_name(ctx->gpu));
    }
    return error;
}

tsr_error tsr_context_open(tsr_context **out,
                           const tsr_context_settings *settings)
{
    tsr_context_settings s;
    tsr_context *ctx;
    tsr_error error;

    *out = NULL;
    TSR_TRY(take_settings(&s, settings));
    if (!s.allocator.alloc)
        s.allocator = (tsr_allocator){ NULL, default_alloc, default_free };
    ctx = s.allocator.alloc(s.allocator.cookie, sizeof *ctx, ALIGNMENT);
    if (!ctx)
        return TSR_E_NOMEM;
    *ctx = (tsr_context){ .logger = s.logger, .allocator = s.allocator,
                          .threads = s.threads ? s.threads : processors(),
                          .beside = 1,
                          .cpu = tsr_cpu_flags(), .max_pixels = s.max_pixels,
                          .max_memory = s.max_memory,
                          .precision = s.precision };
    error = pick_backend(ctx, s.backend);
    if (!error)
        error = tsri_pool_open(&ctx->pool, ctx, ctx->threads);
    if (!error)
        error = pick_device(ctx, s.device);
    if (error)
        tsr_context_close(&ctx);
    *out = ctx;
    return error;
}

tsr_error tsri_context_twin(tsr_context **twin, const tsr_context *ctx,
                            int threads, tsr_logger logger)
{
    tsr_context_settings s;
    char device[16];

    tsr_context_settings_init(&s);
    snprintf(device, sizeof device, "cuda:%d", ctx->device_index);
    s.device = ctx->gpu ? device : NULL;
    s.precision = ctx->precision;
    s.threads = threads;
    s.backend = ctx->nn->name;
    s.logger = logger;
    s.allocator = ctx->allocator;
    s.max_pixels = ctx->max_pixels;
    s.max_memory = ctx->max_memory;
    return tsr_context_open(twin, &s);
}

void tsri_context_forget(tsr_context *ctx)
{
    while (ctx->kept) {
        tsri_keep *k = ctx->kept;
        ctx->kept = k->next;
        k->close(k);
    }
}

void tsr_context_close(tsr_context **context)
{
    tsr_context *ctx = context ? *context : NULL;
    if (!ctx)
        return;
    tsri_context_forget(ctx);
    tsri_nn_cuda_close(ctx);
    tsri_pool_close(&ctx->pool, ctx);
    tsri_free(ctx, ctx);
    *context = NULL;
}

const char *tsr_context_backend(const tsr_context *context)
{
    return context->nn->name;
}

const char *tsr_context_device(const tsr_context *context)
{
    return context->device;
}

int tsr_context_threads(const tsr_context *context)
{
    return context->threads;
}

const char *tsr_version(void)
{
    return TSR_VERSION;
}
