/* SPDX-License-Identifier: BSD-2-Clause */
/* Prints sizes of the structures that the Python package tessera_kv declares
 * again, and offsets of their fields, for kv_package.py. */
#include <stddef.h>
#include <stdio.h>
#include <tessera/kv.h>
#include <tessera/kv_chunk.h>
#include <tessera/kv_cuda.h>
#include <tessera/kv_stream.h>
#include <tessera/store.h>

#define SIZE(type) printf(#type " - 0 %zu\n", sizeof(type))
#define FIELD(type, field)                                  \
    printf(#type " " #field " %zu %zu\n", offsetof(type, field), \
           sizeof(((type *)0)->field))

static void context(void)
{
    SIZE(tsr_logger);
    FIELD(tsr_logger, cookie);
    FIELD(tsr_logger, log);
    SIZE(tsr_allocator);
    FIELD(tsr_allocator, cookie);
    FIELD(tsr_allocator, alloc);
    FIELD(tsr_allocator, free);
    SIZE(tsr_context_settings);
    FIELD(tsr_context_settings, size);
    FIELD(tsr_context_settings, threads);
    FIELD(tsr_context_settings, backend);
    FIELD(tsr_context_settings, logger);
    FIELD(tsr_context_settings, allocator);
    FIELD(tsr_context_settings, max_pixels);
    FIELD(tsr_context_settings, max_memory);
    FIELD(tsr_context_settings, device);
    FIELD(tsr_context_settings, precision);
    SIZE(tsr_tensor);
    FIELD(tsr_tensor, name);
    FIELD(tsr_tensor, dtype);
    FIELD(tsr_tensor, rank);
    FIELD(tsr_tensor, dims);
    FIELD(tsr_tensor, data);
    FIELD(tsr_tensor, bytes);
    SIZE(tsr_sink);
    FIELD(tsr_sink, cookie);
    FIELD(tsr_sink, write);
}

static void objects(void)
{
    SIZE(tsr_kv_shape);
    FIELD(tsr_kv_shape, layers);
    FIELD(tsr_kv_shape, planes);
    FIELD(tsr_kv_shape, heads);
    FIELD(tsr_kv_shape, dim);
    SIZE(tsr_kv_rope);
    FIELD(tsr_kv_rope, layout);
    FIELD(tsr_kv_rope, offset);
    FIELD(tsr_kv_rope, dims);
    FIELD(tsr_kv_rope, theta);
    FIELD(tsr_kv_rope, scaling);
    FIELD(tsr_kv_rope, factor);
    FIELD(tsr_kv_rope, low_factor);
    FIELD(tsr_kv_rope, high_factor);
    FIELD(tsr_kv_rope, original);
    SIZE(tsr_kv_view);
    FIELD(tsr_kv_view, dtype);
    FIELD(tsr_kv_view, base);
    FIELD(tsr_kv_view, token_stride);
    FIELD(tsr_kv_view, head_stride);
    FIELD(tsr_kv_view, blocks);
    FIELD(tsr_kv_view, block_tokens);
    FIELD(tsr_kv_view, block_stride);
    FIELD(tsr_kv_view, tokens);
    SIZE(tsr_kv_settings);
    FIELD(tsr_kv_settings, size);
    FIELD(tsr_kv_settings, shape);
    FIELD(tsr_kv_settings, rope);
    FIELD(tsr_kv_settings, profile);
    FIELD(tsr_kv_settings, method);
    FIELD(tsr_kv_settings, step);
    FIELD(tsr_kv_settings, value_ratio);
    FIELD(tsr_kv_settings, levels);
    FIELD(tsr_kv_settings, sinks);
    FIELD(tsr_kv_settings, recent);
    FIELD(tsr_kv_settings, recent_boost);
    FIELD(tsr_kv_settings, tile);
    FIELD(tsr_kv_settings, store_tokens);
    SIZE(tsr_kv_call);
    FIELD(tsr_kv_call, pos0);
    FIELD(tsr_kv_call, token_ids);
    FIELD(tsr_kv_call, boost);
    FIELD(tsr_kv_call, scratch);
    FIELD(tsr_kv_call, scratch_size);
    SIZE(tsr_kv_part);
    FIELD(tsr_kv_part, first_layer);
    FIELD(tsr_kv_part, layers);
    FIELD(tsr_kv_part, first_token);
    FIELD(tsr_kv_part, tokens);
    FIELD(tsr_kv_part, level);
}

static void info(void)
{
    SIZE(tsr_kv_info);
    FIELD(tsr_kv_info, shape);
    FIELD(tsr_kv_info, rope);
    FIELD(tsr_kv_info, method);
    FIELD(tsr_kv_info, params);
    FIELD(tsr_kv_info, dtype);
    FIELD(tsr_kv_info, tokens);
    FIELD(tsr_kv_info, pos0);
    FIELD(tsr_kv_info, levels);
    FIELD(tsr_kv_info, tile);
    FIELD(tsr_kv_info, sinks);
    FIELD(tsr_kv_info, step);
    FIELD(tsr_kv_info, profile);
    FIELD(tsr_kv_info, token_ids);
    FIELD(tsr_kv_info, bytes);
    FIELD(tsr_kv_info, head_bytes);
    FIELD(tsr_kv_info, side_bytes);
    FIELD(tsr_kv_info, level_bytes);
    FIELD(tsr_kv_info, span);
    FIELD(tsr_kv_info, live_shift);
}

static void chunks(void)
{
    SIZE(tsr_kv_cuda_item);
    FIELD(tsr_kv_cuda_item, view);
    FIELD(tsr_kv_cuda_item, first_token);
    FIELD(tsr_kv_cuda_item, pos0);
    FIELD(tsr_kv_cuda_item, data);
    FIELD(tsr_kv_cuda_item, size);
    FIELD(tsr_kv_cuda_item, bytes);
    FIELD(tsr_kv_cuda_item, status);
    FIELD(tsr_kv_cuda_item, level);
    FIELD(tsr_kv_cuda_item, token_ids);
    FIELD(tsr_kv_cuda_item, boost);
    FIELD(tsr_kv_cuda_item, part_first);
    FIELD(tsr_kv_cuda_item, part_tokens);
    SIZE(tsr_kv_prefix);
    FIELD(tsr_kv_prefix, name);
    FIELD(tsr_kv_prefix, tokens);
    SIZE(tsr_kv_chunk);
    FIELD(tsr_kv_chunk, name);
    FIELD(tsr_kv_chunk, digest);
    FIELD(tsr_kv_chunk, tokens);
    FIELD(tsr_kv_chunk, pos0);
    FIELD(tsr_kv_chunk, layers);
    FIELD(tsr_kv_chunk, levels);
    FIELD(tsr_kv_chunk, object_bytes);
    FIELD(tsr_kv_chunk, bytes);
    FIELD(tsr_kv_chunk, front_bytes);
    FIELD(tsr_kv_chunk, level_end);
}

static void stores(void)
{
    SIZE(tsr_store_settings);
    FIELD(tsr_store_settings, size);
    FIELD(tsr_store_settings, max_object);
    FIELD(tsr_store_settings, capacity);
    FIELD(tsr_store_settings, timeout);
    FIELD(tsr_store_settings, retries);
    FIELD(tsr_store_settings, token);
    FIELD(tsr_store_settings, ca_file);
    FIELD(tsr_store_settings, endpoint);
    FIELD(tsr_store_settings, region);
    FIELD(tsr_store_settings, key_prefix);
    FIELD(tsr_store_settings, logger);
    SIZE(tsr_store_entry);
    FIELD(tsr_store_entry, key);
    FIELD(tsr_store_entry, bytes);
    FIELD(tsr_store_entry, modified);
}

static void jobs(void)
{
    SIZE(tsr_kv_events);
    FIELD(tsr_kv_events, cookie);
    FIELD(tsr_kv_events, layers);
    FIELD(tsr_kv_events, recompute);
    FIELD(tsr_kv_events, progress);
    SIZE(tsr_kv_arrival);
    FIELD(tsr_kv_arrival, chunk);
    FIELD(tsr_kv_arrival, first_token);
    FIELD(tsr_kv_arrival, tokens);
    FIELD(tsr_kv_arrival, object);
    FIELD(tsr_kv_arrival, size);
    FIELD(tsr_kv_arrival, levels);
    SIZE(tsr_kv_stream_settings);
    FIELD(tsr_kv_stream_settings, size);
    FIELD(tsr_kv_stream_settings, url);
    FIELD(tsr_kv_stream_settings, store);
    FIELD(tsr_kv_stream_settings, model);
    FIELD(tsr_kv_stream_settings, profile);
    FIELD(tsr_kv_stream_settings, chunk_tokens);
    FIELD(tsr_kv_stream_settings, connections);
    FIELD(tsr_kv_stream_settings, threads);
    FIELD(tsr_kv_stream_settings, events);
    FIELD(tsr_kv_stream_settings, replace);
    FIELD(tsr_kv_stream_settings, policy);
    FIELD(tsr_kv_stream_settings, deadline);
    FIELD(tsr_kv_stream_settings, floor);
    FIELD(tsr_kv_stream_settings, ceiling);
    FIELD(tsr_kv_stream_settings, recompute);
    FIELD(tsr_kv_stream_settings, cache);
    FIELD(tsr_kv_stream_settings, arrival);
    FIELD(tsr_kv_stream_settings, arrival_cookie);
    SIZE(tsr_kv_job_result);
    FIELD(tsr_kv_job_result, error);
    FIELD(tsr_kv_job_result, message);
    FIELD(tsr_kv_job_result, tokens);
    FIELD(tsr_kv_job_result, chunks);
    FIELD(tsr_kv_job_result, present);
    FIELD(tsr_kv_job_result, recomputed);
    FIELD(tsr_kv_job_result, missing);
    FIELD(tsr_kv_job_result, late);
    FIELD(tsr_kv_job_result, retried);
    FIELD(tsr_kv_job_result, bytes);
    FIELD(tsr_kv_job_result, raw_bytes);
    FIELD(tsr_kv_job_result, seconds);
    FIELD(tsr_kv_job_result, usable);
    FIELD(tsr_kv_job_result, coding);
    FIELD(tsr_kv_job_result, mean_levels);
}

int main(void)
{
    context();
    objects();
    info();
    chunks();
    stores();
    jobs();
    return 0;
}
