/* SPDX-License-Identifier: BSD-2-Clause */
/* YUV4MPEG2, the video of pipes.  Source: yuv4mpeg(5) of mjpegtools, and the
 * names of colour spaces and the X tags that ffmpeg adds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/media/in_frames.h"
#include "tools/say.h"

enum { LINE = 1024 };

/* Places of the chroma samples: between_x, between_y. */
typedef struct space { const char *name, *form; int between_x, between_y; }
    space;

static const space spaces[] = {
    { "420jpeg", "yuv420p", 1, 1 }, { "420", "yuv420p", 1, 1 },
    { "420mpeg2", "yuv420p", 0, 1 }, { "420paldv", "yuv420p", 0, 0 },
    { "411", "yuv411p", 0, 0 }, { "422", "yuv422p", 0, 0 },
    { "444", "yuv444p", 0, 0 }, { "444alpha", "yuva444p", 0, 0 },
    { "mono", "gray", 0, 0 }
};

/* A line without its end; its length, or -1: none, or too long. */
static int line(input *in, char text[LINE])
{
    int n = 0;
    for (; n < LINE; n++) {
        if (input_read(in, text + n, 1) != 1)
            return n ? -1 : 0;
        if (text[n] == '\n')
            break;
    }
    if (n == LINE)
        return -1;
    text[n] = 0;
    return n;
}

static int frame_head(input *in)
{
    char text[LINE];
    const int n = line(in, text);
    if (n <= 0)
        return n;
    return !strncmp(text, "FRAME", 5) && (!text[5] || text[5] == ' ') ? 1 : -1;
}

/* "420p10" is "420" with 10 bits, "mono12" is "mono" with 12. */
static int set_space(planes *p, const char *name)
{
    char base[32];
    size_t n = strlen(name);
    int depth = 8;

    while (n && name[n - 1] >= '0' && name[n - 1] <= '9')
        n--;
    if (n && (name[n - 1] == 'p' || !strncmp(name, "mono", 4)) && name[n]) {
        depth = atoi(name + n);
        n -= name[n - 1] == 'p';
    } else {
        n = strlen(name);
    }
    if (depth < 8 || depth > 16 || n >= sizeof base)
        return 0;
    snprintf(base, sizeof base, "%.*s", (int)n, name);
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        if (strcmp(base, spaces[i].name))
            continue;
        planes_named(p, spaces[i].form);
        p->yuv.depth = depth;
        p->yuv.between_x = spaces[i].between_x;
        p->yuv.between_y = spaces[i].between_y;
        return 1;
    }
    return 0;
}

/* What the first line says. */
typedef struct head {
    planes form;
    unsigned long num, den, sar_num, sar_den;
    int range;      /* 0 not said, 1 limited, 2 full */
    const char *wrong;
} head;

static void set_x(head *h, const char *text)
{
    if (!strcmp(text, "COLORRANGE=FULL"))
        h->range = 2;
    else if (!strcmp(text, "COLORRANGE=LIMITED"))
        h->range = 1;
}

static void take(head *h, const char *word)
{
    const char *text = word + 1;
    int end = 0;
    switch (*word) {
    case 'W':
        h->form.width = atoi(text);
        break;
    case 'H':
        h->form.height = atoi(text);
        break;
    case 'F':
        if (sscanf(text, "%9lu:%9lu%n", &h->num, &h->den, &end) != 2)
            h->wrong = "frame rate";
        break;
    case 'A':
        if (sscanf(text, "%5lu:%5lu", &h->sar_num, &h->sar_den) != 2)
            h->sar_num = h->sar_den = 0;
        break;
    case 'C':
        if (!set_space(&h->form, text))
            h->wrong = "colour space";
        break;
    case 'X':
        set_x(h, text);
        break;
    default:
        break;
    }
}

static int read_head(input *in, head *h)
{
    char text[LINE], *word, *next;

    *h = (head){ .num = 25, .den = 1 };
    set_space(&h->form, "420jpeg");
    if (line(in, text) < 10 || strncmp(text, "YUV4MPEG2", 9))
        return in->fault ? input_failed(in) : say_error(RC_INPUT, in->name,
                                                        "is no y4m file");
    for (word = text + 9; word; word = next) {
        word += strspn(word, " ");
        next = strchr(word, ' ');
        if (next)
            *next++ = 0;
        take(h, word);
        if (h->wrong)
            return say_error(RC_INPUT, in->name, "y4m: unknown %s '%s'",
                             h->wrong, word + 1);
    }
    if (!planes_bytes(&h->form))
        return say_error(RC_INPUT, in->name, "y4m: no valid size in the"
                         " header");
    if (!h->num || !h->den) {
        h->num = 25;
        h->den = 1;
    }
    return RC_OK;
}

int media_open_y4m(media_reader **r, const media_setup *s)
{
    head h;
    int rc = read_head(s->in, &h);

    *r = NULL;
    if (rc)
        return rc;
    h.form.yuv.matrix = yuv_matrix_of(h.form.height);
    /* Nobody writes grey of limited range without saying so. */
    h.form.yuv.full = h.range ? h.range == 2 : h.form.count == 1;
    rc = frames_open(r, s, &h.form, frame_head, (uint32_t)h.num,
                     (uint32_t)h.den);
    if (!rc && h.sar_num <= UINT16_MAX && h.sar_den <= UINT16_MAX &&
        h.sar_num && h.sar_den) {
        (*r)->info.picture.sar_num = (uint16_t)h.sar_num;
        (*r)->info.picture.sar_den = (uint16_t)h.sar_den;
    }
    return rc;
}
