/* SPDX-License-Identifier: BSD-2-Clause */
/* A server of the tests (tests/store_server.py, tests/s3_server.py) as a child.  It
 * ends with its input, so it does not outlive a test that dies. */
#ifndef TSR_TESTS_STORE_PEER_H
#define TSR_TESTS_STORE_PEER_H
#include "tests/store_case.h"
#include <signal.h>
#include <sys/wait.h>

typedef struct store_peer {
    pid_t pid;
    int input;
    char place[64];         /* "http://127.0.0.1:PORT" */
} store_peer;

static inline const char *peer_python(void)
{
    const char *python = getenv("PYTHON");
    return python ? python : "python3";
}

/** Starts a script of the source tree.  Returns 0: it did not start. */
static inline int peer_start(store_peer *p, const char *script,
                             const char *cert, const char *key)
{
    int in[2], out[2], port = 0;
    if (!*peer_python() || pipe(in) || pipe(out))
        return 0;
    p->pid = fork();
    if (!p->pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execlp(peer_python(), peer_python(), "-B", check_path(script), cert, key,
               (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    fcntl(in[1], F_SETFD, FD_CLOEXEC);
    p->input = in[1];
    FILE *file = fdopen(out[0], "r");
    const int found = file && fscanf(file, "%d", &port) == 1;
    fclose(file);
    snprintf(p->place, sizeof p->place, "http%s://127.0.0.1:%d", cert ? "s" : "",
             port);
    return found;
}

static inline void peer_stop(store_peer *p)
{
    close(p->input);
    if (p->pid > 0) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
    }
}

/** The bytes that the servers have where they have an object of their own. */
enum { PEER_BYTES = 100000 };
static inline uint8_t peer_byte(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static inline void peer_check(const store_bytes *b, size_t offset, size_t size)
{
    assert_int_equal(b->size, size);
    for (size_t i = 0; i < size; i++)
        if (b->data[i] != peer_byte(offset + i))
            fail_msg("byte %zu is another", i);
}

/** No proxy stands between a test and its own server, no credentials but its
 *  own. */
static inline void peer_environment(void)
{
    static const char *const names[] = {
        "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

/** Does this build have such stores? */
static inline int peer_scheme(const char *scheme)
{
    const char *name;
    for (int i = 0; (name = tsr_store_scheme_at(i)) != NULL; i++)
        if (!strcmp(name, scheme))
            return 1;
    return 0;
}
#endif
