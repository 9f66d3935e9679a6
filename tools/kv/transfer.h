/* SPDX-License-Identifier: BSD-2-Clause */
/* What push and pull have in common. */
#ifndef TOOLS_KV_TRANSFER_H
#define TOOLS_KV_TRANSFER_H
#include <tessera/kv_stream.h>
#include "tools/args.h"
#include "tools/progress.h"

/** -model -ids -replace -deadline -floor -ceiling -policy -cache. */
extern const opt kv_transfer_options[];

/** What jobs need as the options say; url as the caller has it.  Returns an exit
 *  status; has said what was wrong. */
int kv_transfer_settings(tsr_kv_stream_settings *settings, const args *a,
                         const char *url, tsr_model *profile);

/** Reads -ids: a .npy array, or token_ids of a .safetensors file.  *ids: free().
 *  Returns an exit status; has said what was wrong. */
int kv_transfer_ids(tsr_context *ctx, const args *a, int32_t **ids, size_t *n);

/** Shows how far the job is until it has ended. */
void kv_transfer_wait(tsr_kv_job *job, progress *p, tsr_kv_job_result *result);

/** Says why a job failed, if it did.  Returns an exit status. */
int kv_transfer_failed(const tsr_kv_job_result *result, const char *url);

/** The line at the end, on stdout; nothing with -nostats. */
void kv_transfer_summary(const args *a, const char *verb,
                         const tsr_kv_job_result *result);
#endif
