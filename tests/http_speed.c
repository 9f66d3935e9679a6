/* SPDX-License-Identifier: BSD-2-Clause */
/* make tests/http_speed: what a store over HTTP costs on loopback, beside the
 * program curl with the same server, a child that sends and swallows as fast as the
 * kernel lets it.  Rates from the wall clock, cost from the client's CPU time; the
 * best of all passes.
 *
 *     tests/http_speed [MEBIBYTES OBJECTS PASSES] */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <tessera/store.h>

static size_t object = 64 << 20;
static int objects = 16, passes = 5;
static char *bytes;

/* ---- server ---- */

static int send_all(int fd, const char *data, size_t size)
{
    while (size) {
        const ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return 0;
        data += n;
        size -= (size_t)n;
    }
    return 1;
}

/* Reads a head and the body behind it.  Returns 'G', 'P', or 0 at the end. */
static char read_request(int fd, char *room, size_t size)
{
    size_t have = 0;
    char *end = NULL;
    while (!end) {
        const ssize_t n = recv(fd, room + have, 4096 - have, 0);
        if (n <= 0 || have + (size_t)n >= 4096)
            return 0;
        have += (size_t)n;
        room[have] = 0;
        end = strstr(room, "\r\n\r\n");
    }
    const char method = *room, *length = strstr(room, "Content-Length: ");
    size_t left = length ? strtoull(length + 16, NULL, 10) : 0;
    left -= have - (size_t)(end + 4 - room);
    if (strstr(room, "100-continue") && !send_all(fd, "HTTP/1.1 100 X\r\n\r\n", 18))
        return 0;
    while (left) {
        const ssize_t n = recv(fd, room, left < size ? left : size, 0);
        if (n <= 0)
            return 0;
        left -= (size_t)n;
    }
    return method;
}

static void answer(int fd)
{
    char head[128];
    static char room[1 << 20];
    snprintf(head, sizeof head, "HTTP/1.1 200 X\r\nContent-Length: %zu\r\n\r\n",
             object);
    for (char method; (method = read_request(fd, room, sizeof room)) != 0;) {
        if (method == 'G' && (!send_all(fd, head, strlen(head)) ||
                              !send_all(fd, bytes, object)))
            break;
        if (method != 'G' &&
            !send_all(fd, "HTTP/1.1 201 X\r\nContent-Length: 0\r\n\r\n", 37))
            break;
    }
    close(fd);
}

static pid_t start_server(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) || listen(fd, 16) ||
        getsockname(fd, (struct sockaddr *)&at, &size))
        exit(1);
    *port = ntohs(at.sin_port);
    const pid_t parent = getpid(), pid = fork();
    while (!pid && getppid() == parent) {
        const int one = accept(fd, NULL, NULL);
        setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        answer(one);
    }
    if (!pid)
        _exit(0);
    close(fd);
    return pid;
}

/* ---- clients ---- */

typedef struct cost { double wall, cpu; } cost;

static double wall(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
        (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static tsr_error count(void *cookie, const void *data, size_t size)
{
    (void)data;
    *(size_t *)cookie += size;
    return TSR_OK;
}

static cost by_store(const char *url, int put)
{
    tsr_store_settings set;
    tsr_store *store;
    size_t got = 0;
    const tsr_sink sink = { &got, count };
    tsr_store_settings_init(&set);
    const double t = wall(), c = cpu(RUSAGE_SELF);
    tsr_error error = tsr_store_open(&store, url, &set);
    for (int i = 0; !error && i < objects; i++)
        error = put ? tsr_store_put(store, "k", bytes, object)
                    : tsr_store_get(store, "k", 0, 0, &sink, NULL);
    tsr_store_close(&store);
    if (error || (!put && got != object * (size_t)objects))
        exit(2);
    return (cost){ wall() - t, cpu(RUSAGE_SELF) - c };
}

static cost by_curl(const char *url, const char *file, int put)
{
    char *line = malloc(256 + (size_t)objects * 256), *out = line;
    if (!line)
        exit(1);
    out += sprintf(out, "exec curl -sf");
    for (int i = 0; i < objects; i++)
        out += put ? sprintf(out, " -T %s %s/v1/chunks/k", file, url)
                   : sprintf(out, " -o /dev/null %s/v1/chunks/k", url);
    const double t = wall(), c = cpu(RUSAGE_CHILDREN);
    if (system(line))
        exit(3);
    free(line);
    return (cost){ wall() - t, cpu(RUSAGE_CHILDREN) - c };
}

static void best(cost *all, cost one)
{
    all->wall = all->wall < one.wall ? all->wall : one.wall;
    all->cpu = all->cpu < one.cpu ? all->cpu : one.cpu;
}

static void print(const char *name, cost c)
{
    const double gb = (double)object * objects / 1e9;
    printf("%-14s %6.2f GB/s  %6.3f CPU s per GB\n", name, gb / c.wall,
           c.cpu / gb);
}

int main(int argc, char **argv)
{
    int port;
    char url[64], file[] = "./http-speed-XXXXXX";
    if (argc > 3) {
        object = (size_t)atoi(argv[1]) << 20;
        objects = atoi(argv[2]);
        passes = atoi(argv[3]);
    }
    bytes = malloc(object);
    const int fd = mkstemp(file);
    if (!bytes || fd < 0)
        return 1;
    memset(bytes, 0x5a, object);
    if (write(fd, bytes, object) != (ssize_t)object)
        return 1;
    const pid_t server = start_server(&port);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    unsetenv("http_proxy");
    const cost none = { 1e9, 1e9 };
    cost c[4] = { none, none, none, none };
    for (int i = 0; i < passes; i++)
        for (int put = 0; put < 2; put++) {
            best(&c[put], by_store(url, put));
            best(&c[2 + put], by_curl(url, file, put));
        }
    printf("%d objects of %zu MiB, best of %d\n", objects, object >> 20, passes);
    print("GET, store", c[0]);
    print("GET, curl", c[2]);
    print("PUT, store", c[1]);
    print("PUT, curl", c[3]);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    unlink(file);
    return 0;
}
