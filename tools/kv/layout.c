/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "tools/kv/layout.h"

static int find(const layout *y, char letter)
{
    for (int i = 0; i < y->rank; i++)
        if (y->letter[i] == letter)
            return i;
    return -1;
}

int layout_parse(layout *y, const char *letters)
{
    const size_t n = strlen(letters);
    memset(y, 0, sizeof *y);
    if (!n || n > LAYOUT_MAX)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (!strchr("2LTHDC", letters[i]) || find(y, letters[i]) >= 0)
            return 0;
        y->letter[y->rank++] = letters[i];
    }
    const int joined = find(y, 'C') >= 0;
    return find(y, 'T') >= 0 && (letters[n - 1] == 'D' || letters[n - 1] == 'C')
        && joined != (find(y, 'D') >= 0) && !(joined && find(y, 'H') >= 0);
}

static uint64_t dim(const layout *y, char letter)
{
    const int i = find(y, letter);
    return i < 0 ? 1 : y->dims[i];
}

int layout_shape(const layout *y, int heads, tsr_kv_shape *shape,
                 uint64_t *tokens)
{
    const int joined = find(y, 'C') >= 0;
    const uint64_t h = joined ? (uint64_t)heads : dim(y, 'H');
    const uint64_t all = joined ? dim(y, 'C') : dim(y, 'D') * h;

    if (find(y, '2') >= 0 && dim(y, '2') != 2)
        return 0;
    if (!h || h > 1024 || !all || all > 16384 || all % h ||
        dim(y, 'L') < 1 || dim(y, 'L') > 1024 || dim(y, 'T') > 1 << 20)
        return 0;
    memset(shape, 0, sizeof *shape);
    shape->layers = (int)dim(y, 'L');
    shape->planes = find(y, '2') >= 0 ? 2 : 1;
    for (int p = 0; p < shape->planes; p++) {
        shape->heads[p] = (int)h;
        shape->dim[p] = (int)(all / h);
    }
    *tokens = dim(y, 'T');
    return 1;
}

int layout_fit(layout *y, const tsr_kv_shape *shape, uint64_t tokens)
{
    const uint64_t heads = (uint64_t)shape->heads[0];
    const uint64_t width = (uint64_t)shape->dim[0];
    const struct { char letter; uint64_t dim; } want[] = {
        { '2', (uint64_t)shape->planes }, { 'L', (uint64_t)shape->layers },
        { 'T', tokens }, { 'H', heads }, { 'D', width },
        { 'C', heads * width },
    };

    if (shape->planes == 2 && (shape->heads[1] != shape->heads[0] ||
                               shape->dim[1] != shape->dim[0]))
        return 0;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const int at = find(y, want[i].letter);
        if (at >= 0)
            y->dims[at] = want[i].dim;
    }
    return (shape->planes == 2) == (find(y, '2') >= 0) &&
        (shape->layers == 1 || find(y, 'L') >= 0) &&
        (heads == 1 || find(y, 'H') >= 0 || find(y, 'C') >= 0);
}

uint64_t layout_step(const layout *y, char letter)
{
    uint64_t step = 1;
    const int at = find(y, letter);
    for (int i = y->rank - 1; at >= 0 && i > at; i--)
        step *= y->dims[i];
    return at < 0 ? 0 : step;
}
