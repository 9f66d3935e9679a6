/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "tools/kv/serve.h"
#include "tools/say.h"

enum { BACKLOG = 512 };

/* Splits HOST:PORT into two texts within `copy`. */
static int split(char *copy, const char **host, const char **port)
{
    char *colon = strrchr(copy, ':');
    if (!colon || !colon[1] || strspn(colon + 1, "0123456789") !=
        strlen(colon + 1) || strlen(colon + 1) > 5 || atoi(colon + 1) > 65535)
        return -1;
    *colon = 0;
    *port = colon + 1;
    *host = copy;
    if (*copy == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        *host = copy + 1;
    } else if (strchr(copy, ':')) {
        return -1;
    }
    return 0;
}

static int is_local(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)a;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)a;
        return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    }
    return 0;
}

static int bound(const struct addrinfo *a)
{
    const int fd = socket(a->ai_family, SOCK_STREAM, a->ai_protocol), on = 1;
    if (fd < 0)
        return -1;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, BACKLOG))
        return fd;
    const int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static void show(int fd, char shown[SHOWN_SIZE])
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    char host[64] = "?", port[8] = "?";
    if (!getsockname(fd, (void *)&own, &size))
        (void)getnameinfo((void *)&own, size, host, sizeof host, port,
                          sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(shown, SHOWN_SIZE, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host,
             port);
}

int listen_open(const char *address, char shown[SHOWN_SIZE], int *local)
{
    const struct addrinfo hints = { .ai_flags = AI_PASSIVE,
                                    .ai_socktype = SOCK_STREAM };
    const char *host, *port;
    struct addrinfo *found = NULL;
    char copy[256];
    int fd = -1, why;

    if (strlen(address) >= sizeof copy ||
        (memcpy(copy, address, strlen(address) + 1),
         split(copy, &host, &port))) {
        say_error(RC_USAGE, NULL, "-listen %s: HOST:PORT is wanted", address);
        return -1;
    }
    why = getaddrinfo(*host ? host : NULL, port, &hints, &found);
    if (why) {
        say_error(RC_USAGE, address, "%s", gai_strerror(why));
        return -1;
    }
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = bound(a);
        *local = is_local(a->ai_addr);
    }
    if (fd < 0)
        say_error(RC_USAGE, address, "%s", strerror(errno));
    else
        show(fd, shown);
    freeaddrinfo(found);
    return fd;
}
