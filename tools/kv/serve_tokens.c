/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "tools/kv/remote.h"
#include "tools/kv/serve.h"
#include "tools/say.h"

/* Padded with zeros, so that comparing always takes as long. */
typedef struct token {
    uint8_t text[KV_TOKEN_SIZE];
    int right;
} token;

typedef struct token_list {
    token *item;
    size_t n;
} token_list;

struct tokens {
    const char *path;
    token_list list;
    pthread_rwlock_t lock;
};

static int add(void *cookie, const char *text, int write)
{
    token_list *l = cookie;
    token *grown = realloc(l->item, (l->n + 1) * sizeof *grown);
    if (!grown)
        return -1;
    l->item = grown;
    grown += l->n++;
    memset(grown, 0, sizeof *grown);
    memcpy(grown->text, text, strlen(text));
    grown->right = write ? TOKEN_WRITE : TOKEN_READ;
    return 0;
}

static int read_list(token_list *l, const char *path)
{
    int rc = kv_remote_tokens(path, add, l);
    if (!rc && !l->n)
        rc = say_error(RC_USAGE, path, "no token in it");
    if (rc)
        free(l->item);
    return rc;
}

int tokens_open(tokens **out, const char *path)
{
    tokens *t;
    *out = NULL;
    if (!path)
        return RC_OK;
    t = calloc(1, sizeof *t);
    if (!t || pthread_rwlock_init(&t->lock, NULL)) {
        free(t);
        return say_error(RC_MACHINE, NULL, "out of memory");
    }
    t->path = path;
    const int rc = read_list(&t->list, path);
    if (rc) {
        t->list.item = NULL;
        tokens_close(&t);
    }
    *out = t;
    return rc;
}

int tokens_reload(tokens *t)
{
    token_list fresh = { NULL, 0 }, old;
    const int rc = t ? read_list(&fresh, t->path) : RC_OK;
    if (rc || !t)
        return rc;
    pthread_rwlock_wrlock(&t->lock);
    old = t->list;
    t->list = fresh;
    pthread_rwlock_unlock(&t->lock);
    free(old.item);
    return RC_OK;
}

static int same(const uint8_t *a, const uint8_t *b)
{
    volatile uint8_t differ = 0;
    for (size_t i = 0; i < KV_TOKEN_SIZE; i++)
        differ = (uint8_t)(differ | (a[i] ^ b[i]));
    return !differ;
}

int tokens_right(tokens *t, const char *authorization)
{
    uint8_t shown[KV_TOKEN_SIZE] = { 0 };
    const char *text = authorization;
    int right = TOKEN_NONE;

    if (!t)
        return TOKEN_WRITE;
    if (!text || strncasecmp(text, "Bearer ", 7))
        return TOKEN_NONE;
    text += 7 + strspn(text + 7, " ");
    if (!*text || strlen(text) >= sizeof shown)
        return TOKEN_NONE;
    memcpy(shown, text, strlen(text));
    pthread_rwlock_rdlock(&t->lock);
    for (size_t i = 0; i < t->list.n; i++) {
        const token *k = &t->list.item[i];
        if (same(k->text, shown) && k->right > right)
            right = k->right;
    }
    pthread_rwlock_unlock(&t->lock);
    return right;
}

int tokens_any(const tokens *t)
{
    return t != NULL;
}

void tokens_close(tokens **t)
{
    if (!*t)
        return;
    free((*t)->list.item);
    pthread_rwlock_destroy(&(*t)->lock);
    free(*t);
    *t = NULL;
}
