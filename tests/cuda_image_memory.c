/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures in device memory, on a caller's stream. */
#include "config.h"
#include <stdatomic.h>
#include <time.h>
#if TSR_HAVE_CUDA
#include <cuda_runtime_api.h>
#endif
#include <tessera/cuda.h>
#include "lib/cuda/device.h"
#include "tests/cuda_image.h"

enum {
    WIDTH = 62, HEIGHT = 45,
    GIVE_UP = 3000              /* ms */
};

/* The caller: memory and streams of its own. */
typedef struct caller {
    tsr_context *ctx;           /* of its handles, without a device */
    tsri_cuda *gpu, *other;
    uint8_t *pixels;            /* on the device */
} caller;

static bool open_caller(caller *c)
{
    *c = (caller){ cuda_image_context("cpu", 0, 1), NULL, NULL, NULL };
    return !tsri_cuda_open(&c->gpu, c->ctx, 0) &&
           !tsri_cuda_open(&c->other, c->ctx, 0) &&
           !tsri_cuda_alloc(c->gpu, &c->pixels, WIDTH * HEIGHT, 3);
}

static void close_caller(caller *c)
{
    tsri_cuda_free(c->gpu, c->pixels);
    tsri_cuda_close(&c->other);
    tsri_cuda_close(&c->gpu);
    tsr_context_close(&c->ctx);
}

/* Keeps a stream waiting, without room on the device, until it is let go; a call
 * that waits for the stream finds that it took GIVE_UP and went on by itself. */
typedef struct hold {
    atomic_bool let_go, gave_up;
} hold;

static void wait_here(void *cookie)
{
    enum { STEP = 1000 * 1000 };        /* ns */
    hold *h = cookie;

    for (int i = 0; i < GIVE_UP && !atomic_load(&h->let_go); i++)
        nanosleep(&(struct timespec){ .tv_nsec = STEP }, NULL);
    atomic_store(&h->gave_up, !atomic_load(&h->let_go));
}

static void hold_stream(tsri_cuda *gpu, hold *h)
{
    atomic_init(&h->let_go, false);
    atomic_init(&h->gave_up, false);
#if TSR_HAVE_CUDA
    assert_int_equal(cudaLaunchHostFunc(tsri_cuda_stream(gpu), wait_here, h), 0);
#else
    (void)gpu;
    wait_here(h);
#endif
}

/* Whether nothing has waited for the stream since it was held. */
static bool let_go(tsri_cuda *gpu, hold *h)
{
    const bool held = !tsri_cuda_idle(gpu) && !atomic_load(&h->gave_up);

    atomic_store(&h->let_go, true);
    return held;
}

static bool has_pixels(caller *c, const tsr_image *want)
{
    const size_t row = WIDTH * 3;
    uint8_t *got = malloc(HEIGHT * row);
    bool same = true;

    assert_non_null(got);
    assert_int_equal(tsri_cuda_download(c->gpu, got, c->pixels, HEIGHT * row),
                     TSR_OK);
    assert_int_equal(tsri_cuda_sync(c->gpu), TSR_OK);
    for (int y = 0; y < HEIGHT; y++)
        same &= !memcmp(got + (size_t)y * row, (uint8_t *)want->data +
                        (size_t)y * want->stride, row);
    free(got);
    return same;
}

static void check_decode(caller *c, tsr_context *ctx, tsr_model *model,
                         mem_file *file, const char *name)
{
    const tsr_image on_device = { WIDTH, HEIGHT, 3, 8, WIDTH * 3, c->pixels };
    tsr_image want = token_decode(ctx, model, file, TSR_OK), bad = on_device;
    tsr_source source = token_source(file);
    hold h;

    bool good = !tsr_cuda_image_decode(ctx, model, &source, &on_device);
    good &= has_pixels(c, &want);
    verdict(good, "%s into device memory", name);
    assert_int_equal(tsri_cuda_fill(c->gpu, c->pixels, 0, WIDTH * HEIGHT * 3),
                     TSR_OK);
    hold_stream(c->gpu, &h);
    source = token_source(file);
    good = !tsr_cuda_image_decode(ctx, model, &source, &on_device);
    good &= let_go(c->gpu, &h);
    verdict(good && has_pixels(c, &want), "%s into device memory "
            "without waiting for the stream", name);
    bad.height--;
    source = token_source(file);
    verdict(tsr_cuda_image_decode(ctx, model, &source, &bad) == TSR_E_ARG,
            "%s into memory of another size", name);
    tsr_image_free(ctx, &want);
}

static void check_encode(caller *c, tsr_context *ctx, tsr_model *model,
                         const tsr_image *image, const mem_file *want,
                         const char *name)
{
    tsr_image on_device = { WIDTH, HEIGHT, 3, 8, WIDTH * 3, c->pixels };
    mem_file got = { .data = NULL };
    const tsr_sink sink = token_sink(&got);
    hold h;

    for (int y = 0; y < HEIGHT; y++)
        assert_int_equal(tsri_cuda_upload(c->gpu, c->pixels + y * WIDTH * 3,
                         (uint8_t *)image->data + (size_t)y * image->stride,
                         WIDTH * 3), TSR_OK);
    /* The second run of a network of a size records it as a graph, which CUDA may make
     * after what other streams do. */
    const tsr_error recording = tsr_cuda_image_encode(ctx, model, NULL, &on_device,
                                                      &sink);
    got.size = 0;
    hold_stream(c->other, &h);
    const tsr_error error = tsr_cuda_image_encode(ctx, model, NULL, &on_device,
                                                  &sink);
    const bool held = let_go(c->other, &h);
    verdict(!recording && !error && got.size == want->size &&
            !memcmp(got.data, want->data, got.size), "%s of device memory", name);
    verdict(held, "%s of device memory without waiting for another stream",
            name);
    assert_int_equal(tsri_cuda_sync(c->other), TSR_OK);
    on_device.channels = 2;
    verdict(tsr_cuda_image_encode(ctx, model, NULL, &on_device, &sink) ==
            TSR_E_UNSUPPORTED, "%s of device memory with alpha", name);
    free(got.data);
}

static void check_model(caller *c, const char *device, const char *name)
{
    tsr_context *ctx = cuda_image_context(device, TSR_PRECISION_AUTO, 1);
    assert_non_null(ctx);
    tsr_model *model = gpu_model(ctx, name);
    tsr_image image = token_picture(WIDTH, HEIGHT, 3, 8);
    mem_file file = token_encode(ctx, model, NULL, &image);

    assert_int_equal(tsr_cuda_use_stream(ctx, tsri_cuda_stream(c->gpu)), TSR_OK);
    check_decode(c, ctx, model, &file, name);
    check_encode(c, ctx, model, &image, &file, name);
    assert_int_equal(tsr_cuda_use_stream(ctx, NULL), TSR_OK);
    mem_file again = token_encode(ctx, model, NULL, &image);
    token_same_file(&file, &again);
    free(again.data);
    free(file.data);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

void cuda_image_memory(const char *device)
{
    tsr_context *cpu = cuda_image_context("cpu", 0, 1);
    caller c;

    verdict(tsr_cuda_use_stream(cpu, NULL) == TSR_E_UNSUPPORTED,
            "a context without a device has no stream");
    tsr_context_close(&cpu);
    if (!strcmp(device, "cpu"))
        return;
    if (!open_caller(&c))
        fail_msg("%s", token_message);
    for (int model = 0; model < GPU_MODELS; model++)
        check_model(&c, device, gpu_models[model]);
    close_caller(&c);
}
