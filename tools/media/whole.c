/* SPDX-License-Identifier: BSD-2-Clause */
/* Sources: ISO/IEC 14496-12, 4.2 (boxes) and 8.8.11 (mfro, the end of a file of
 * fragments); "NUT Open Container Format", index and its pointer. */
#include <string.h>
#include "tools/media/whole.h"

static const uint64_t nut_index = 0x4e58dd672f23e64e;

enum { TAIL = sizeof((whole *)0)->tail, BOX_MFRA = 0x6d667261,
       BOX_MOOF = 0x6d6f6f66 };

static uint64_t big_endian(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* Bytes of its head that tell a box's length; 0: not enough of them yet. */
static size_t head_size(const uint8_t *head, size_t have)
{
    const size_t need = have >= 8 && big_endian(head, 4) == 1 ? 16 : 8;
    return have >= need ? need : 0;
}

/* The head of the box at w->box is there: notes it, and goes on to the next. */
static void take_box(whole *w)
{
    uint64_t size = big_endian(w->head, 4);
    w->type = (uint32_t)big_endian(w->head + 4, 4);
    w->fragments |= w->type == BOX_MOOF;
    if (size == 1)
        size = big_endian(w->head + 8, 8);
    /* 0: it reaches to the end, wherever that is. */
    w->box = size < 8 || size > UINT64_MAX - w->box ? UINT64_MAX
                                                    : w->box + size;
    w->have = 0;
}

static void feed_boxes(whole *w, uint64_t at, const uint8_t *data, size_t n)
{
    while (w->box + w->have >= at && w->box + w->have < at + n &&
           w->box != UINT64_MAX) {
        w->head[w->have] = data[w->box + w->have - at];
        w->have++;
        if (head_size(w->head, w->have))
            take_box(w);
    }
}

static void feed_index(whole *w, uint64_t at, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        w->code = w->code << 8 | data[i];
        if (w->code == nut_index)
            w->index = at + i + 1 - 7;
    }
}

void whole_feed(whole *w, const uint8_t *data, size_t n)
{
    const size_t keep = n < TAIL ? TAIL - n : 0;
    if (w->nut == 1)
        feed_index(w, w->seen, data, n);
    else
        feed_boxes(w, w->seen, data, n);
    memmove(w->tail, w->tail + TAIL - keep, keep);
    memcpy(w->tail + keep, data + n - (TAIL - keep), TAIL - keep);
    w->seen += n;
}

static int boxes_cut(const whole *w)
{
    if (w->box == UINT64_MAX)
        return 0;
    return w->box != w->seen || w->have ||
           (w->fragments && w->type != BOX_MFRA && w->nut != WHOLE_ANY_MOV);
}

int whole_cut(const whole *w)
{
    if (w->nut != 1)
        return boxes_cut(w);
    /* In front of its check the index tells its own length. */
    return !w->index || w->seen < TAIL ||
           big_endian(w->tail, 8) != w->seen - (w->index - 1);
}

static int nut_cut(input *in, uint64_t size)
{
    uint8_t tail[TAIL], code[8];
    uint64_t back;

    if (size < TAIL || input_seek(in, size - TAIL) ||
        input_read(in, tail, TAIL) != TAIL)
        return 1;
    back = big_endian(tail, 8);
    return back > size || input_seek(in, size - back) ||
           input_read(in, code, sizeof code) != sizeof code ||
           big_endian(code, 8) != nut_index;
}

int whole_file_cut(int nut, input *in)
{
    whole w = { .nut = nut };
    uint64_t size;

    if (input_seek(in, 0))
        return 1;
    size = input_left(in);
    if (nut == 1)
        return nut_cut(in, size);
    while (w.box < size && !input_seek(in, w.box)) {
        const uint64_t box = w.box;
        uint8_t head[16];
        const size_t n = input_read(in, head, sizeof head);
        feed_boxes(&w, box, head, n);
        if (w.box == box)
            return 1;
    }
    w.seen = size;
    return boxes_cut(&w);
}
