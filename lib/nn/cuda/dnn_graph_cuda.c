/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/dnn_inside.h"

static cudnnDataType_t data_type(int type)
{
    return type == NNK_F32 ? CUDNN_DATA_FLOAT :
           type == NNK_F16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
}

/* dims and strides: n, c, h, w. */
static descriptor tensor(maker *m, int64_t id, cudnnDataType_t type,
                         const int64_t dims[4], const int64_t strides[4],
                         bool inner)
{
    const int64_t align = 16;
    descriptor x = create(m, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    set(m, x, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(m, x, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims);
    set(m, x, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides);
    set(m, x, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(m, x, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    set(m, x, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &inner);
    finish(m, x);
    return x;
}

/* What a convolution makes of the items, dense. */
static descriptor made(maker *m, int64_t id, cudnnDataType_t type,
                       const tsri_dnn_shape *s, bool inner)
{
    const int64_t c = s->out, row = s->cols * c;
    const int64_t dims[4] = { s->items, c, s->rows, s->cols };
    const int64_t strides[4] = { s->rows * row, 1, row, c };
    return tensor(m, id, type, dims, strides, inner);
}

static void set_conv(maker *m, graph *g, const tsri_dnn_shape *s)
{
    const int64_t before[2] = { s->top, s->left }, after[2] = { s->bottom,
                                                                s->right };
    const int64_t stride[2] = { s->stride, s->stride }, one[2] = { 1, 1 };
    const int64_t spatial = 2;
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const float alpha = 1, beta = 0;

    g->conv = create(m, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1,
        &spatial);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1,
        &compute);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE,
        CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2,
        before);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2,
        after);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, one);
    set(m, g->conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2,
        stride);
    finish(m, g->conv);
    g->conv_op = create(m, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->conv);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->x);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->weight);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, g->sum ? &g->sum : &g->y);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
        CUDNN_TYPE_FLOAT, 1, &alpha);
    set(m, g->conv_op, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA,
        CUDNN_TYPE_FLOAT, 1, &beta);
    finish(m, g->conv_op);
}

/* y = mode(x, b). */
static void set_pointwise(maker *m, descriptor *kind, descriptor *op,
                          cudnnPointwiseMode_t mode, descriptor x, descriptor b,
                          descriptor y)
{
    const cudnnDataType_t compute = CUDNN_DATA_FLOAT;

    *kind = create(m, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(m, *kind, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
    set(m, *kind, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1,
        &compute);
    finish(m, *kind);
    *op = create(m, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, kind);
    set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &x);
    if (b)
        set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &b);
    set(m, *op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    finish(m, *op);
}

static void set_tensors(maker *m, graph *g, const tsri_dnn_shape *s, bool fused)
{
    const cudnnDataType_t type = data_type(s->type);
    const int64_t k = s->kernel, c = s->in, out = s->out;
    const int64_t dims[4] = { out, c, k, k }, strides[4] = { k * k * c, 1, k * c,
                                                             c };
    const int64_t x_dims[4] = { s->items, c, s->height, s->width };
    const int64_t x_strides[4] = { s->plane, 1, s->row, c };
    const int64_t bias_dims[4] = { 1, out, 1, 1 };
    const int64_t bias_strides[4] = { out, 1, out, out };

    g->x = tensor(m, ID_X, type, x_dims, x_strides, false);
    g->weight = tensor(m, ID_WEIGHT, type, dims, strides, false);
    g->y = made(m, ID_Y, s->wide ? CUDNN_DATA_FLOAT : type, s, false);
    if (!fused)
        return;
    g->bias = tensor(m, ID_BIAS, CUDNN_DATA_FLOAT, bias_dims, bias_strides, false);
    g->sum = made(m, ID_SUM, CUDNN_DATA_FLOAT, s, true);
    if (s->add)
        g->more = made(m, ID_ADD, type, s, false);
    if (s->act || s->add)
        g->biased = made(m, ID_BIASED, CUDNN_DATA_FLOAT, s, true);
}

static cudnnPointwiseMode_t last_of(const tsri_dnn_shape *s)
{
    return s->add ? CUDNN_POINTWISE_ADD :
           s->act == 1 ? CUDNN_POINTWISE_SWISH_FWD : CUDNN_POINTWISE_RELU_FWD;
}

void tsri_dnn_make_graph(maker *m, graph *g, const tsri_dnn_shape *s, bool fused)
{
    descriptor ops[3];
    int64_t n = 0;

    set_tensors(m, g, s, fused);
    set_conv(m, g, s);
    ops[n++] = g->conv_op;
    if (fused) {
        set_pointwise(m, &g->add, &g->add_op, CUDNN_POINTWISE_ADD, g->sum,
                      g->bias, s->act || s->add ? g->biased : g->y);
        ops[n++] = g->add_op;
    }
    if (fused && (s->act || s->add)) {
        set_pointwise(m, &g->act, &g->act_op, last_of(s), g->biased, g->more,
                      g->y);
        ops[n++] = g->act_op;
    }
    g->ops = create(m, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(m, g->ops, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
        n, ops);
    set(m, g->ops, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
        &m->d->handle);
    finish(m, g->ops);
}

void tsri_dnn_free_graph(tsri_dnn *d, graph *g)
{
    descriptor *const all[] = { &g->ops, &g->act_op, &g->act, &g->add_op, &g->add,
                                &g->conv_op, &g->conv, &g->more, &g->biased,
                                &g->sum,
                                &g->y, &g->bias, &g->weight, &g->x };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        destroy(d, all[i]);
}
