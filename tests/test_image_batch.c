/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches of pictures: each as by itself, whatever becomes of its neighbours, one
 * after the other and in lanes. */
#include "config.h"
#include "codecs/image/image.h"
#include "codecs/lanes.h"
#include "tests/token_case.h"
#include "tests/progress_count.h"

enum { COUNT = 7 };
static const int side[COUNT][2] = { { 40, 24 }, { 1, 1 }, { 33, 65 }, { 40, 24 },
                                    { 64, 64 }, { 7, 90 }, { 16, 16 } };

typedef struct batch {
    tsr_context *ctx;
    tsr_model *model;
    tsr_image image[COUNT], out[COUNT];
    mem_file file[COUNT], alone[COUNT];
    tsr_sink sink[COUNT];
    tsr_source source[COUNT];
    tsr_error error[COUNT];
} batch;

static void open_batch(batch *b, int simvq)
{
    const token_sizes sizes = TOKEN_SIZES;

    *b = (batch){ .ctx = case_context("auto", 2, 0) };
    b->model = token_open(b->ctx, &sizes, simvq);
    for (int i = 0; i < COUNT; i++) {
        b->image[i] = token_picture(side[i][0], side[i][1], 1 + i % 4,
                                    i % 3 ? 8 : 16);
        b->alone[i] = token_encode(b->ctx, b->model, NULL, &b->image[i]);
        b->sink[i] = token_sink(&b->file[i]);
        b->source[i] = token_source(&b->file[i]);
    }
}

static void close_batch(batch *b)
{
    for (int i = 0; i < COUNT; i++) {
        free(b->image[i].data);
        free(b->file[i].data);
        free(b->alone[i].data);
    }
    tsr_model_unref(&b->model);
    tsr_context_close(&b->ctx);
}

static void check_decoded(batch *b, int i)
{
    tsr_image want = token_decode(b->ctx, b->model, &b->alone[i], TSR_OK);
    token_same(&want, &b->out[i]);
    tsr_image_free(b->ctx, &want);
    tsr_image_free(b->ctx, &b->out[i]);
}

static void test_same(void **state)
{
    batch b;

    (void)state;
    for (int simvq = 0; simvq < 2; simvq++) {
        open_batch(&b, simvq);
        assert_int_equal(tsr_image_encode_batch(b.ctx, b.model, NULL, COUNT,
                                                b.image, b.sink, b.error),
                         TSR_OK);
        assert_null(b.ctx->kept);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(b.error[i], TSR_OK);
            token_same_file(&b.file[i], &b.alone[i]);
        }
        assert_int_equal(tsr_image_decode_batch(b.ctx, b.model, NULL, COUNT,
                                                b.source, b.out, NULL), TSR_OK);
        for (int i = 0; i < COUNT; i++)
            check_decoded(&b, i);
        assert_int_equal(tsr_image_decode_batch(b.ctx, b.model, NULL, 0, NULL,
                                                NULL, NULL), TSR_OK);
        close_batch(&b);
    }
}

/* Bad ones among good ones, in both directions. */
static void test_bad(void **state)
{
    batch b;

    (void)state;
    open_batch(&b, 0);
    b.image[1].channels = 9;
    b.file[3].fail_at = 4;
    assert_int_equal(tsr_image_encode_batch(b.ctx, b.model, NULL, COUNT, b.image,
                                            b.sink, b.error), TSR_E_ARG);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(b.error[i], i == 1 ? TSR_E_ARG : i == 3 ? TSR_E_IO
                                                                 : TSR_OK);
        if (!b.error[i])
            token_same_file(&b.file[i], &b.alone[i]);
    }
    b.file[3].fail_at = 0;
    for (int i = 0; i < COUNT; i++) {
        free(b.file[i].data);
        b.file[i] = (mem_file){ .size = b.alone[i].size, .room = b.alone[i].size };
        b.file[i].data = malloc(b.file[i].size);
        assert_non_null(b.file[i].data);
        memcpy(b.file[i].data, b.alone[i].data, b.file[i].size);
    }
    b.file[0].size = 0;
    b.file[2].data[0] ^= 1;
    b.file[5].fail_at = 3;
    assert_int_equal(tsr_image_decode_batch(b.ctx, b.model, NULL, COUNT, b.source,
                                            b.out, b.error), TSR_E_FORMAT);
    for (int i = 0; i < COUNT; i++) {
        const bool bad = i == 0 || i == 2 || i == 5;
        assert_int_equal(b.error[i] != TSR_OK, bad);
        if (bad)
            assert_null(b.out[i].data);
        else
            check_decoded(&b, i);
    }
    assert_int_equal(b.error[5], TSR_E_IO);
    close_batch(&b);
}

static void test_progress(void **state)
{
    progress_count c = { 0, 0, 0 };
    tsr_image_settings s;
    batch b;

    (void)state;
    open_batch(&b, 0);
    tsr_image_settings_init(&s);
    s.progress = (tsr_progress){ &c, progress_up };
    assert_int_equal(tsr_image_encode_batch(b.ctx, b.model, &s, COUNT, b.image,
                                            b.sink, b.error), TSR_OK);
    assert_true(c.calls >= COUNT && c.last > 0.99);
    c = (progress_count){ 0, 3, 0 };
    assert_int_equal(tsr_image_decode_batch(b.ctx, b.model, &s.progress, COUNT,
                                            b.source, b.out, b.error),
                     TSR_E_CANCELED);
    assert_int_equal(c.calls, 3);
    assert_int_equal(b.error[COUNT - 1], TSR_E_CANCELED);
    for (int i = 0; i < COUNT; i++)
        tsr_image_free(b.ctx, &b.out[i]);
    s.quality = 101;
    assert_int_equal(tsr_image_encode_batch(b.ctx, b.model, &s, COUNT, b.image,
                                            b.sink, NULL), TSR_E_ARG);
    close_batch(&b);
}

/* ---- lanes, here on the CPU ---- */

static tsr_error encode_piece(void *cookie, tsr_context *ctx, size_t i,
                              const tsr_progress *progress)
{
    batch *b = cookie;
    tsr_image_settings s;

    tsr_image_settings_init(&s);
    s.progress = *progress;
    if (i == 2)
        return tsri_fail(ctx, TSR_E_CORRUPT, "piece two");
    return tsr_image_encode(ctx, b->model, &s, &b->image[i], &b->sink[i]);
}

static tsr_error decode_piece(void *cookie, tsr_context *ctx, size_t i,
                              const tsr_progress *progress)
{
    batch *b = cookie;
    return tsr_image_decode(ctx, i % 2 ? b->model : NULL, progress, &b->source[i],
                            &b->out[i]);
}

static void test_lanes(void **state)
{
    batch b;

    (void)state;
    open_batch(&b, 1);
    b.ctx->keeps = true; /* as on a device */
    assert_int_equal(tsri_lanes(b.ctx, 100), 2);
    assert_int_equal(tsri_lanes(b.ctx, 1), 1);
    for (int lanes = 2; lanes <= 5; lanes += 3) {
        token_message[0] = 0;
        assert_int_equal(tsri_lanes_run(b.ctx, lanes, COUNT, encode_piece, &b,
                                        NULL, b.error), TSR_E_CORRUPT);
        assert_string_equal(token_message, "piece two");
        for (int i = 0; i < COUNT; i++) {
            if (i == 2)
                continue;
            assert_int_equal(b.error[i], TSR_OK);
            token_same_file(&b.file[i], &b.alone[i]);
            free(b.file[i].data);
            b.file[i] = (mem_file){ .data = NULL };
        }
    }
    for (int i = 0; i < COUNT; i++) {
        b.source[i] = token_source(&b.alone[i]);
        b.error[i] = TSR_OK;
    }
    /* Without a model's name each lane needs one that it has kept. */
    (void)tsri_lanes_run(b.ctx, 3, COUNT, decode_piece, &b, NULL, b.error);
    for (int i = 0; i < COUNT; i++) {
        if (i % 2)
            assert_int_equal(b.error[i], TSR_OK);
        else
            assert_true(b.error[i] == TSR_OK || b.error[i] == TSR_E_MODEL);
        if (!b.error[i]) {
            const tsr_source again = token_source(&b.alone[i]);
            tsr_image want;
            assert_int_equal(tsr_image_decode(b.ctx, b.model, NULL, &again, &want),
                             TSR_OK);
            token_same(&want, &b.out[i]);
            tsr_image_free(b.ctx, &want);
        }
        tsr_image_free(b.ctx, &b.out[i]);
    }
    close_batch(&b);
}

/* What is kept does not grow, and is what it was. */
static void test_kept(void **state)
{
    const token_sizes sizes = TOKEN_SIZES;
    tsr_context *ctx = case_context("auto", 1, 0);
    tsr_model *model[6];
    tsr_image picture = token_picture(30, 20, 3, 8);

    (void)state;
    for (int i = 0; i < 6; i++) {
        check_tensors list = token_model(&sizes, 0, (uint64_t)(20 + i));
        model[i] = token_open_list(ctx, &list, SIZE_MAX, TOKEN_META);
        check_tensors_free(&list);
    }
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 6; i++) {
            ctx->keeps = false;
            mem_file want = token_encode(ctx, model[i], NULL, &picture);
            ctx->keeps = true;
            mem_file got = token_encode(ctx, model[i], NULL, &picture);
            mem_file again = token_encode(ctx, model[i], NULL, &picture);
            token_same_file(&want, &got);
            token_same_file(&want, &again);
            tsr_image image = token_decode(ctx, NULL, &got, TSR_OK);
            tsr_image_free(ctx, &image);
            free(want.data);
            free(got.data);
            free(again.data);
            int kept = 0;
            for (const tsri_keep *k = ctx->kept; k; k = k->next)
                kept++;
            assert_true(kept >= 1 && kept <= 4);
        }
    for (int i = 0; i < 6; i++)
        tsr_model_unref(&model[i]);
    tsr_context_close(&ctx); /* closes what is kept, with its models */
    free(picture.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_progress), cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
