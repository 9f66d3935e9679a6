# SPDX-License-Identifier: BSD-2-Clause
# Fuzz targets, replayed with their corpora: a file fuzz_X.c, a file corpus/X (and
# found/X, inputs that once found a fault) and three lines each.  docs/fuzzing.md.
noinst_HEADERS += tests/fuzz/fuzz.h
noinst_HEADERS += tests/fuzz/fuzz_bytes.h tests/fuzz/fuzz_model.h
EXTRA_DIST += tests/fuzz/run.sh tests/fuzz/corpus tests/fuzz/corpus.py
EXTRA_DIST += tests/fuzz/found tests/fuzz/seeds.py
check_PROGRAMS += $(TSR_FUZZ)
TSR_FUZZ =
if TSR_FUZZ_ENGINE
TSR_REPLAY = tests/fuzz/frame.c
else
TSR_REPLAY = tests/fuzz/replay.c tests/fuzz/frame.c
endif
TSR_FUZZ += tests/fuzz/fuzz_adaptive
tests_fuzz_fuzz_adaptive_SOURCES = tests/fuzz/fuzz_adaptive.c $(TSR_REPLAY)
tests_fuzz_fuzz_adaptive_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_audio
tests_fuzz_fuzz_audio_SOURCES = tests/fuzz/fuzz_audio.c $(TSR_REPLAY)
tests_fuzz_fuzz_audio_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_bigtable
tests_fuzz_fuzz_bigtable_SOURCES = tests/fuzz/fuzz_bigtable.c $(TSR_REPLAY)
tests_fuzz_fuzz_bigtable_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_cachegen
tests_fuzz_fuzz_cachegen_SOURCES = tests/fuzz/fuzz_cachegen.c $(TSR_REPLAY)
tests_fuzz_fuzz_cachegen_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_checkpoint
tests_fuzz_fuzz_checkpoint_SOURCES = tests/fuzz/fuzz_checkpoint.c $(TSR_REPLAY)
tests_fuzz_fuzz_checkpoint_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_codes
tests_fuzz_fuzz_codes_SOURCES = tests/fuzz/fuzz_codes.c $(TSR_REPLAY)
tests_fuzz_fuzz_codes_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_ecdc
tests_fuzz_fuzz_ecdc_SOURCES = tests/fuzz/fuzz_ecdc.c $(TSR_REPLAY)
tests_fuzz_fuzz_ecdc_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_foreign
tests_fuzz_fuzz_foreign_SOURCES = tests/fuzz/fuzz_foreign.c $(TSR_REPLAY)
tests_fuzz_fuzz_foreign_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_kv
tests_fuzz_fuzz_kv_SOURCES = tests/fuzz/fuzz_kv.c $(TSR_REPLAY)
tests_fuzz_fuzz_kv_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_kv_chunk
tests_fuzz_fuzz_kv_chunk_SOURCES = tests/fuzz/fuzz_kv_chunk.c $(TSR_REPLAY)
tests_fuzz_fuzz_kv_chunk_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_media
tests_fuzz_fuzz_media_SOURCES = tests/fuzz/fuzz_media.c $(TSR_REPLAY)
tests_fuzz_fuzz_media_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_model
tests_fuzz_fuzz_model_SOURCES = tests/fuzz/fuzz_model.c $(TSR_REPLAY)
tests_fuzz_fuzz_model_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_packing
tests_fuzz_fuzz_packing_SOURCES = tests/fuzz/fuzz_packing.c $(TSR_REPLAY)
tests_fuzz_fuzz_packing_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_picture
tests_fuzz_fuzz_picture_SOURCES = tests/fuzz/fuzz_picture.c $(TSR_REPLAY)
tests_fuzz_fuzz_picture_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_plan
tests_fuzz_fuzz_plan_SOURCES = tests/fuzz/fuzz_plan.c $(TSR_REPLAY)
tests_fuzz_fuzz_plan_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_profile
tests_fuzz_fuzz_profile_SOURCES = tests/fuzz/fuzz_profile.c $(TSR_REPLAY)
tests_fuzz_fuzz_profile_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_range
tests_fuzz_fuzz_range_SOURCES = tests/fuzz/fuzz_range.c $(TSR_REPLAY)
tests_fuzz_fuzz_range_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_rans
tests_fuzz_fuzz_rans_SOURCES = tests/fuzz/fuzz_rans.c $(TSR_REPLAY)
tests_fuzz_fuzz_rans_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_rans64
tests_fuzz_fuzz_rans64_SOURCES = tests/fuzz/fuzz_rans64.c $(TSR_REPLAY)
tests_fuzz_fuzz_rans64_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_rows
tests_fuzz_fuzz_rows_SOURCES = tests/fuzz/fuzz_rows.c $(TSR_REPLAY)
tests_fuzz_fuzz_rows_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_sorted
tests_fuzz_fuzz_sorted_SOURCES = tests/fuzz/fuzz_sorted.c $(TSR_REPLAY)
tests_fuzz_fuzz_sorted_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_stream
tests_fuzz_fuzz_stream_SOURCES = tests/fuzz/fuzz_stream.c $(TSR_REPLAY)
tests_fuzz_fuzz_stream_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_symbols
tests_fuzz_fuzz_symbols_SOURCES = tests/fuzz/fuzz_symbols.c $(TSR_REPLAY)
tests_fuzz_fuzz_symbols_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_tables
tests_fuzz_fuzz_tables_SOURCES = tests/fuzz/fuzz_tables.c $(TSR_REPLAY)
tests_fuzz_fuzz_tables_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_tokens
tests_fuzz_fuzz_tokens_SOURCES = tests/fuzz/fuzz_tokens.c $(TSR_REPLAY)
tests_fuzz_fuzz_tokens_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_torchac
tests_fuzz_fuzz_torchac_SOURCES = tests/fuzz/fuzz_torchac.c $(TSR_REPLAY)
tests_fuzz_fuzz_torchac_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_video
tests_fuzz_fuzz_video_SOURCES = tests/fuzz/fuzz_video.c $(TSR_REPLAY)
tests_fuzz_fuzz_video_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
TSR_FUZZ += tests/fuzz/fuzz_weights
tests_fuzz_fuzz_weights_SOURCES = tests/fuzz/fuzz_weights.c $(TSR_REPLAY)
tests_fuzz_fuzz_weights_LDADD = libtsrcore.la $(LIB_FUZZING_ENGINE)
# What the program reads, and what comes over a network.
TSR_FUZZ += tests/fuzz/fuzz_input
tests_fuzz_fuzz_input_SOURCES = tests/fuzz/fuzz_input.c $(TSR_REPLAY) \
	tools/io/array.c tools/io/array.h $(media_in_files)
tests_fuzz_fuzz_input_CPPFLAGS = $(tests_media_dump_CPPFLAGS)
tests_fuzz_fuzz_input_LDADD = $(media_in_libs) $(LIB_FUZZING_ENGINE)
if TSR_CURL
if TSR_MHD
TSR_FUZZ += tests/fuzz/fuzz_serve
tests_fuzz_fuzz_serve_SOURCES = tests/fuzz/fuzz_serve.c $(TSR_REPLAY) \
	tools/kv/remote.c tools/kv/remote.h tools/kv/serve.h tools/kv/serve_range.c \
	tools/kv/serve_tokens.c tools/say.c tools/say.h
tests_fuzz_fuzz_serve_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_fuzz_fuzz_serve_LDADD = libtsrnet.la libtsrcore.la $(LIB_FUZZING_ENGINE)
endif
endif
TSR_FUZZ += tests/fuzz/fuzz_store
tests_fuzz_fuzz_store_SOURCES = tests/fuzz/fuzz_store.c $(TSR_REPLAY)
tests_fuzz_fuzz_store_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_fuzz_fuzz_store_LDADD = libtsrnet.la libtsrcore.la $(LIB_FUZZING_ENGINE)
