/* SPDX-License-Identifier: BSD-2-Clause */
/* rm: chunks out of a store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tools/kv/remote.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

/* The names of a store's chunks; other programs' objects are left alone. */
typedef struct names {
    char (*name)[TSR_KV_NAME_TEXT];
    size_t n, room;
    uint64_t bytes, others;
} names;

static tsr_error take(void *cookie, const tsr_store_entry *e)
{
    names *all = cookie;
    uint8_t name[TSR_KV_NAME_BYTES];
    if (tsr_kv_name_parse(e->key, name)) {
        all->others++;
        return TSR_OK;
    }
    if (all->n == all->room) {
        const size_t room = all->room ? 2 * all->room : 256;
        void *grown = realloc(all->name, room * sizeof *all->name);
        if (!grown)
            return TSR_E_NOMEM;
        all->name = grown;
        all->room = room;
    }
    memcpy(all->name[all->n++], e->key, TSR_KV_NAME_TEXT);
    all->bytes += e->bytes;
    return TSR_OK;
}

/* Nothing goes unless somebody says yes. */
static int agreed(const args *a, const names *all)
{
    char answer[16];
    const char *url = kv_remote_shown(a->file[0]);
    if (a->yes && !a->no)
        return RC_OK;
    if (a->no || a->nostdin || !isatty(STDIN_FILENO))
        return say_error(RC_USAGE, url, "%zu chunks, %llu bytes; -y removes"
                         " them", all->n, (unsigned long long)all->bytes);
    fprintf(stderr, "%s: remove all %zu chunks, %llu bytes? [y/N] ", url, all->n,
            (unsigned long long)all->bytes);
    if (fgets(answer, sizeof answer, stdin) &&
        (*answer == 'y' || *answer == 'Y'))
        return RC_OK;
    return say_error(RC_USAGE, url, "nothing removed");
}

static int remove_all(tsr_store *store, const args *a)
{
    names all = { NULL, 0, 0, 0, 0 };
    tsr_error error = tsr_store_list(store, "", take, &all);
    int rc = error ? kv_remote_failed(kv_remote_shown(a->file[0]), error) : RC_OK;

    if (!rc && all.n)
        rc = agreed(a, &all);
    for (size_t i = 0; !rc && i < all.n; i++) {
        error = tsr_store_remove(store, all.name[i]);
        if (error && error != TSR_E_MISSING)
            rc = kv_remote_failed(all.name[i], error);
    }
    if (!rc)
        say_info("%zu chunks removed, %llu bytes", all.n,
                 (unsigned long long)all.bytes);
    if (!rc && all.others)
        say_warning(kv_remote_shown(a->file[0]), "%llu objects that are no"
                    " chunks stay", (unsigned long long)all.others);
    free(all.name);
    return rc;
}

/* As rm does: the others go all the same. */
static int remove_some(tsr_store *store, const args *a)
{
    int rc = RC_OK;
    for (int i = 1; i < a->files; i++) {
        const tsr_error error = tsr_store_remove(store, a->file[i]);
        const int worst = error ? kv_remote_failed(a->file[i], error) : RC_OK;
        rc = rc ? rc : worst;
    }
    return rc;
}

int kv_rm(args *a)
{
    tsr_store *store = NULL;
    int rc;
    if (a->files && (a->files > 1) == (a->all != 0))
        return say_error(RC_USAGE, NULL, a->all ? "rm: -all or keys, not both"
                         : "rm: which? keys, or -all");
    rc = kv_remote_store(&store, a, "rm");
    if (!rc)
        rc = a->all ? remove_all(store, a) : remove_some(store, a);
    tsr_store_close(&store);
    return rc;
}
