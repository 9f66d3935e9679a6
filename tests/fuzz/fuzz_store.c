/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of servers that hate us, as stores over HTTP, S3 and Redis see them: the
 * input is what a server says on a connection, and then it hangs up. */
#include "tests/fuzz/fuzz.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <tessera/store.h>

enum { OBJECT = 1 << 16, LISTED = 1000 };

/* ---- the server ---- */

static struct {
    pthread_mutex_t lock;
    const uint8_t *data;
    size_t size;
    int port;
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Waits for a request, or the beginning of one, and answers. */
static void serve(int fd)
{
    char request[4096];

    if (recv(fd, request, sizeof request, 0) > 0) {
        pthread_mutex_lock(&server.lock);
        for (size_t at = 0; at < server.size;) {
            const ssize_t n = send(fd, server.data + at, server.size - at,
                                   MSG_NOSIGNAL);
            if (n <= 0)
                break;
            at += (size_t)n;
        }
        pthread_mutex_unlock(&server.lock);
        shutdown(fd, SHUT_WR);
        while (recv(fd, request, sizeof request, 0) > 0)
            ;
    }
    close(fd);
}

static void *listening(void *cookie)
{
    const int *socket = cookie;

    for (;;) {
        const int fd = accept(*socket, NULL, NULL);
        if (fd >= 0)
            serve(fd);
    }
    return NULL;
}

static void start(void)
{
    static int fd;
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    pthread_t thread;

    if (server.port)
        return;
    signal(SIGPIPE, SIG_IGN);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    FUZZ_CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&address, size) &&
               !listen(fd, 64) &&
               !getsockname(fd, (struct sockaddr *)&address, &size));
    FUZZ_CHECK(!pthread_create(&thread, NULL, listening, &fd));
    server.port = ntohs(address.sin_port);
}

static void answer_is(const uint8_t *data, size_t size)
{
    pthread_mutex_lock(&server.lock);
    server.data = data;
    server.size = size;
    pthread_mutex_unlock(&server.lock);
}

/* ---- the client ---- */

static tsr_error take(void *cookie, const void *data, size_t size)
{
    uint64_t *got = cookie;

    FUZZ_CHECK(data && size);
    *got += size;
    return TSR_OK;
}

static tsr_error visit(void *cookie, const tsr_store_entry *entry)
{
    int *n = cookie;

    FUZZ_CHECK(strlen(entry->key) >= 1 && strlen(entry->key) <= 200);
    FUZZ_CHECK(strspn(entry->key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                      "XYZ0123456789._-") == strlen(entry->key));
    return ++*n < LISTED ? TSR_OK : TSR_E_CANCELED;
}

static void call(tsr_store *s, uint32_t what, uint32_t offset, uint32_t bytes)
{
    tsr_store_entry entry;
    uint64_t got = 0;
    int n = 0;

    if (what == 0) {
        const tsr_sink sink = { &got, take };
        const tsr_error error = tsr_store_get(s, "key", offset, bytes, &sink, &entry);
        FUZZ_CHECK(got <= OBJECT && (!bytes || got <= bytes));
        FUZZ_CHECK(error || offset > entry.bytes || got <= entry.bytes - offset);
    } else if (what == 1) {
        (void)!tsr_store_list(s, "", visit, &n);
    } else if (what == 2) {
        if (!tsr_store_stat(s, "key", &entry))
            FUZZ_CHECK(!strcmp(entry.key, "key"));
    } else {
        (void)!tsr_store_put(s, "key", "value", 5);
    }
}

void fuzz_target(const uint8_t *data, size_t size)
{
    static const char *const urls[] = { "http://127.0.0.1:%d/store",
                                        "s3://bucket/prefix", "redis://127.0.0.1:%d" };
    fuzz_input in = { data, size };
    const uint32_t mode = fuzz_u8(&in), offset = fuzz_u8(&in), bytes = fuzz_u8(&in);
    char url[64], endpoint[64];
    tsr_store_settings s;
    tsr_store *store;

    start();
    setenv("AWS_ACCESS_KEY_ID", "id", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    answer_is(in.data, in.size);
    tsr_store_settings_init(&s);
    s.timeout = 1;
    s.retries = 0;
    s.max_object = OBJECT;
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", server.port);
    s.endpoint = endpoint;
    snprintf(url, sizeof url, urls[mode % 3], server.port);
    if (!tsr_store_open(&store, url, &s)) {     /* or the build has not got it */
        call(store, mode / 3 % 4, offset, bytes);
        tsr_store_close(&store);
    }
    answer_is(NULL, 0);
}
