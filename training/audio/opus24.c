// SPDX-License-Identifier: BSD-2-Clause
// opus24 FILE.opus [RATE] > FILE.s16: mono Ogg Opus to samples at 24 kHz or RATE, for machines without ffmpeg.
// gcc -O2 -static opus24.c -o opus24 -lopus -logg -lm
#include <ogg/ogg.h>
#include <opus/opus.h>
#include <stdio.h>
#include <stdlib.h>

enum { LONGEST = 48 * 120 };

static OpusDecoder *decoder;
static long packets, skip;
static int rate = 24000;

static int take(const ogg_packet *packet)
{
    opus_int16 out[LONGEST];
    int n;

    if (packets++ == 0)
        skip = (packet->packet[10] | packet->packet[11] << 8) / (48000 / rate);
    if (packets <= 2)                       // the header and the tags
        return 0;
    n = opus_decode(decoder, packet->packet, (opus_int32)packet->bytes, out, LONGEST, 0);
    if (n < 0)
        return n;
    if (skip < n)
        fwrite(out + skip, 2, (size_t)(n - skip), stdout);
    skip = skip < n ? 0 : skip - n;
    return 0;
}

int main(int argc, char **argv)
{
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    int error = 0, open = 0;
    ogg_sync_state sync;
    ogg_stream_state stream;
    ogg_page page;
    ogg_packet packet;
    size_t n;

    if (argc > 2)
        rate = atoi(argv[2]);
    if (!f || !(decoder = opus_decoder_create(rate, 1, &error)))
        return 1;
    ogg_sync_init(&sync);
    while ((n = fread(ogg_sync_buffer(&sync, 65536), 1, 65536, f)) > 0) {
        ogg_sync_wrote(&sync, (long)n);
        while (ogg_sync_pageout(&sync, &page) == 1) {
            if (!open++)
                ogg_stream_init(&stream, ogg_page_serialno(&page));
            ogg_stream_pagein(&stream, &page);
            while (!error && ogg_stream_packetout(&stream, &packet) == 1)
                error = take(&packet);
        }
    }
    return error || packets < 3;
}
