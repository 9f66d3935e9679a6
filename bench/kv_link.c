/* SPDX-License-Identifier: BSD-2-Clause */
/* A line between two network namespaces that takes its time and loses packets, for
 * kernels without netem: two TUN devices, and what comes out of one goes into the
 * other.  The rate is tc's: a token bucket on each device.
 *
 *     kv_link NAMESPACE NAMESPACE DELAY_MS LOSS_PERCENT
 *
 * makes `line0` in both, prints "ready" and works until it is ended.  DELAY is of
 * one way. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 15, MTU = 1500 };

typedef struct packet {
    double due;
    int size;
    uint8_t data[MTU];
} packet;

/** One direction; packets leave in the order they came. */
typedef struct way {
    int from, to;
    packet *ring;
    unsigned head, tail;
} way;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* A TUN device of that namespace. */
static int open_tun(const char *space)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    char path[256];

    snprintf(path, sizeof path, "/run/netns/%s", space);
    const int ns = open(path, O_RDONLY);
    if (ns < 0 || setns(ns, CLONE_NEWNET))
        fail(path);
    close(ns);
    const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    strcpy(request.ifr_name, "line0");
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request))
        fail("/dev/net/tun");
    return fd;
}

static void take(way *w, double delay, double loss)
{
    while (w->head - w->tail < SLOTS) {
        packet *p = &w->ring[w->head % SLOTS];
        const ssize_t n = read(w->from, p->data, MTU);
        if (n < 0 && errno != EAGAIN)
            fail("read");
        if (n <= 0)
            return;
        p->size = (int)n;
        p->due = now() + delay;
        w->head += drand48() >= loss;
    }
}

static void pass_on(way *w)
{
    const double t = now();
    for (; w->tail != w->head && w->ring[w->tail % SLOTS].due <= t; w->tail++) {
        const packet *p = &w->ring[w->tail % SLOTS];
        /* What a device that is full or down does not take is lost. */
        if (write(w->to, p->data, (size_t)p->size) < 0)
            continue;
    }
}

/* Until a packet comes or one is due. */
static void rest(const way *w)
{
    struct pollfd in[2] = { { w[0].from, POLLIN, 0 }, { w[1].from, POLLIN, 0 } };
    double wait = 1;

    for (int i = 0; i < 2; i++)
        if (w[i].tail != w[i].head) {
            const double left = w[i].ring[w[i].tail % SLOTS].due - now();
            wait = left < wait ? left : wait;
        }
    if (wait > 0)
        ppoll(in, 2, &(struct timespec){ .tv_nsec = (long)(wait * 0.999e9) },
              NULL);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    const double delay = 1e-3 * atof(argv[3]), loss = 1e-2 * atof(argv[4]);
    const int a = open_tun(argv[1]), b = open_tun(argv[2]);
    way w[2] = { { a, b, NULL, 0, 0 }, { b, a, NULL, 0, 0 } };

    for (int i = 0; i < 2; i++)
        if (!(w[i].ring = calloc(SLOTS, sizeof *w[i].ring)))
            fail("memory");
    srand48(1);
    puts("ready");
    fflush(stdout);
    for (;;) {
        for (int i = 0; i < 2; i++) {
            take(&w[i], delay, loss);
            pass_on(&w[i]);
        }
        rest(w);
    }
}
