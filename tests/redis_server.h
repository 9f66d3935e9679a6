/* SPDX-License-Identifier: BSD-2-Clause */
/* Redis servers for tests: real ones, started on free ports of the loopback and
 * gone with the test; and one that says what the test wants it to say. */
#ifndef TSR_TESTS_REDIS_SERVER_H
#define TSR_TESTS_REDIS_SERVER_H
#include "tests/store_case.h"
#include <arpa/inet.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* ---- ports ---- */

/** A socket that listens on a free port of the loopback. */
static inline int redis_listen(int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t size = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static inline int redis_free_port(void)
{
    int port;
    close(redis_listen(&port));
    return port;
}

/* ---- real ones ---- */

typedef struct redis_server {
    pid_t pid;
    int port;
    char dir[32], url[64];
    const char *more[12];       /* arguments; ends with NULL */
} redis_server;

/* Debian's redis-tools has the server under the name of its checker; which of the
 * two it is depends on what it is called as. */
static inline void redis_exec(const redis_server *s)
{
    static const char *const program[] = {
        "redis-server", "valkey-server", "redis-check-rdb"
    };
    char port[16];
    const char *arg[32] = { "redis-server", "--port", port, "--bind",
                            "127.0.0.1", "--save", "", "--dir", s->dir,
                            "--loglevel", "warning" };
    int n = 11;
    snprintf(port, sizeof port, "%d", s->port);
    for (int i = 0; s->more[i]; i++)
        arg[n++] = s->more[i];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    for (int i = 0; i < 3; i++)
        execvp(program[i], (char *const *)arg);
    _exit(127);
}

/** A command to it; the reply is the caller's, or NULL. */
static inline redisReply *redis_ask(const redis_server *s, const char *format,
                                    ...)
{
    redisContext *c = redisConnect("127.0.0.1", s->port);
    redisReply *reply = NULL;
    va_list list;
    va_start(list, format);
    if (c && !c->err)
        reply = redisvCommand(c, format, list);
    va_end(list);
    if (c)
        redisFree(c);
    return reply;
}

/** The same where only "no error" matters. */
#define redis_tell(...)                                     \
    do {                                                    \
        redisReply *reply_ = redis_ask(__VA_ARGS__);        \
        assert_non_null(reply_);                            \
        if (reply_->type == REDIS_REPLY_ERROR)              \
            fail_msg("%s", reply_->str);                    \
        freeReplyObject(reply_);                            \
    } while (0)

/* Returns 0 where there is no such program. */
static inline int redis_run(redis_server *s)
{
    int status;
    s->pid = fork();
    if (!s->pid)
        redis_exec(s);
    for (int i = 0; i < 1000; i++) {
        redisReply *reply = redis_ask(s, "PING");
        const int there = reply && (reply->type == REDIS_REPLY_STATUS ||
                                    !strncmp(reply->str, "NOAUTH", 6));
        if (reply)
            freeReplyObject(reply);
        if (there)
            return 1;
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            assert_true(WIFEXITED(status));
            return WEXITSTATUS(status) != 127 ? -1 : 0;
        }
        store_pause(0.01);
    }
    fail_msg("the server does not come up");
    return 0;
}

static inline void redis_kill(redis_server *s)
{
    int status;
    if (s->pid <= 0)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, &status, 0);
    s->pid = 0;
}

/** Starts one with the arguments in `more`; skips the test where none is
 *  installed. */
static inline void redis_start(redis_server *s)
{
    int up = -1;
    store_mkdir_disk(s->dir);
    /* Somebody may take the port between our look and the server's. */
    for (int i = 0; i < 5 && up < 0; i++) {
        s->port = redis_free_port();
        up = redis_run(s);
    }
    snprintf(s->url, sizeof s->url, "redis://127.0.0.1:%d", s->port);
    if (!up)
        skip();
    assert_int_equal(up, 1);
}

static inline void redis_stop(redis_server *s)
{
    redis_kill(s);
    store_rmdir(s->dir);
}

/* ---- one that says what it is told to ---- */

typedef struct fake_redis {
    int listens, port;
    pthread_t thread;
    char url[64];
    const char *say;            /* to whatever first comes over a connection */
    const char *then;           /* to what comes next; NULL: nothing */
    int drip;                   /* then a byte each 10 ms, endlessly */
    int hangs_up;               /* then it closes; else it waits for us to */
    int pour;                   /* then as much as it can, endlessly */
} fake_redis;

static inline void fake_talk(const fake_redis *f, int fd)
{
    char in[4096];
    char much[4096];
    memset(much, 'x', sizeof much);
    if (recv(fd, in, sizeof in, 0) <= 0)
        return;
    if (send(fd, f->say, strlen(f->say), MSG_NOSIGNAL) < 0)
        return;
    if (f->then && (recv(fd, in, sizeof in, 0) <= 0 ||
                    send(fd, f->then, strlen(f->then), MSG_NOSIGNAL) < 0))
        return;
    while (f->drip && send(fd, "1", 1, MSG_NOSIGNAL) == 1)
        store_pause(0.01);
    while (f->pour && send(fd, much, sizeof much, MSG_NOSIGNAL) > 0)
        ;
    while (!f->hangs_up && recv(fd, in, sizeof in, 0) > 0)
        ;
}

static inline void *fake_serve(void *cookie)
{
    const fake_redis *f = cookie;
    for (int fd; (fd = accept(f->listens, NULL, NULL)) >= 0;) {
        fake_talk(f, fd);
        close(fd);
    }
    return NULL;
}

static inline void fake_start(fake_redis *f)
{
    f->listens = redis_listen(&f->port);
    snprintf(f->url, sizeof f->url, "redis://127.0.0.1:%d", f->port);
    assert_int_equal(pthread_create(&f->thread, NULL, fake_serve, f), 0);
}

static inline void fake_stop(fake_redis *f)
{
    shutdown(f->listens, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->listens);
}
#endif
