/* SPDX-License-Identifier: BSD-2-Clause */
/* The same layers with oneDNN 2.x beside ours, in turns, on one thread:
 * make tests/seq_onednn_speed && tests/seq_onednn_speed [passes].
 * oneDNN has the choice of the weights' order; its signals are time-major as
 * ours, then in the order that it likes best, whose making is not counted. */
#include "config.h"
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include "tests/seq_shapes.h"

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void must(dnnl_status_t status)
{
    if (!status)
        return;
    fprintf(stderr, "oneDNN: status %d\n", (int)status);
    exit(1);
}

/* Memory of what the primitive wants for this argument, filled with noise. */
static dnnl_exec_arg_t argument(dnnl_primitive_desc_t pd, dnnl_query_t what, int arg,
                                float **data)
{
    const dnnl_memory_desc_t *desc = dnnl_primitive_desc_query_md(pd, what, 0);
    dnnl_exec_arg_t a = { .arg = arg };

    *data = noise(dnnl_memory_desc_get_size(desc) / sizeof **data + 1, 0.1f);
    must(dnnl_memory_create(&a.memory, desc, engine, *data));
    return a;
}

static dnnl_primitive_desc_t describe(const shape *s, dnnl_format_tag_t tag)
{
    const int samples = (s->n - 1) * s->stride + (s->taps - 1) * s->dilation + 1;
    const dnnl_dims_t src = { 1, s->in, samples }, dst = { 1, s->out, s->n };
    const dnnl_dims_t weights = { s->out, s->in, s->taps }, bias = { s->out };
    const dnnl_dims_t strides = { s->stride }, dilates = { s->dilation - 1 };
    const dnnl_dims_t none = { 0 };
    dnnl_memory_desc_t x, w, b, y;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t pd;

    must(dnnl_memory_desc_init_by_tag(&x, 3, src, dnnl_f32, tag));
    must(dnnl_memory_desc_init_by_tag(&y, 3, dst, dnnl_f32, tag));
    must(dnnl_memory_desc_init_by_tag(&w, 3, weights, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_init_by_tag(&b, 1, bias, dnnl_f32, dnnl_a));
    must(dnnl_dilated_convolution_forward_desc_init(
        &desc, dnnl_forward_inference, dnnl_convolution_direct, &x, &w, &b, &y,
        strides, dilates, none, none));
    must(dnnl_primitive_desc_create(&pd, &desc, NULL, engine, NULL));
    return pd;
}

static double onednn(const shape *s, dnnl_format_tag_t tag, int passes,
                     const char **name)
{
    static const struct { dnnl_query_t what; int arg; } wanted[] = {
        { dnnl_query_src_md, DNNL_ARG_SRC }, { dnnl_query_dst_md, DNNL_ARG_DST },
        { dnnl_query_weights_md, DNNL_ARG_WEIGHTS },
    };
    const double macs = (double)s->in * s->out * s->taps * s->n;
    const int rounds = macs > 2e6 ? 1 : (int)(2e6 / macs) + 1;
    dnnl_primitive_desc_t pd = describe(s, tag);
    const dnnl_dims_t out = { s->out };
    float *data[4];
    dnnl_exec_arg_t args[4];
    dnnl_memory_desc_t bias;
    dnnl_primitive_t primitive;
    double best = 1e30;

    for (int i = 0; i < 3; i++)
        args[i] = argument(pd, wanted[i].what, wanted[i].arg, &data[i]);
    must(dnnl_memory_desc_init_by_tag(&bias, 1, out, dnnl_f32, dnnl_a));
    data[3] = noise((size_t)s->out, 1);
    args[3].arg = DNNL_ARG_BIAS;
    must(dnnl_memory_create(&args[3].memory, &bias, engine, data[3]));
    must(dnnl_primitive_create(&primitive, pd));
    must(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, name));
    for (int i = 0; i < passes; i++) {
        const double start = now();
        for (int r = 0; r < rounds; r++)
            must(dnnl_primitive_execute(primitive, stream, 4, args));
        const double used = (now() - start) / rounds;
        best = used < best ? used : best;
    }
    for (int i = 0; i < 4; i++) {
        dnnl_memory_destroy(args[i].memory);
        free(data[i]);
    }
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(pd);
    return macs / best * 1e-9;
}

int main(int argc, char **argv)
{
    const int passes = argc > 1 ? atoi(argv[1]) : 20;
    const dnnl_version_t *v = dnnl_version();
    const tsri_seq_kernels *k;
    tsr_context *ctx;

    if (tsr_context_open(&ctx, NULL))
        return 1;
    k = tsri_seq_kernels_pick(ctx->cpu);
    omp_set_num_threads(1);
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
    must(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    printf("GMAC/s: %s, oneDNN %d.%d.%d time-major, oneDNN as it likes\n", k->name,
           v->major, v->minor, v->patch);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];
        const char *name1, *name2;
        double best[3] = { 0 };
        for (int turn = 0; turn < 5; turn++) {
            const double got[3] = {
                conv(ctx, k, s, passes), onednn(s, dnnl_nwc, passes, &name1),
                onednn(s, dnnl_format_tag_any, passes, &name2)
            };
            for (int j = 0; j < 3; j++)
                best[j] = got[j] > best[j] ? got[j] : best[j];
        }
        printf("%-20s %4d -> %-4d k%-2d s%d d%d n %-5d %6.1f %6.1f %6.1f  %s, %s\n",
               s->name, s->in, s->out, s->taps, s->stride, s->dilation, s->n, best[0],
               best[1], best[2], name1, name2);
    }
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    tsr_context_close(&ctx);
    return 0;
}
