# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += tests/cmocka-tap.sh
EXTRA_DIST += tests/lengths tests/python.sh
noinst_HEADERS += tests/model_folder.h
noinst_HEADERS += tests/hyper_gen.h tests/model_gen.h tests/check.h tests/npy.h tests/poor.h \
	tests/mcquic_model.h tests/tensors.h tests/token_model.h

# A C test is one file tests/test_X.c and one line here.
if TSR_CMOCKA
check_PROGRAMS += tests/test_core tests/test_crc32c tests/test_model
# Checkpoints of other programs.
check_PROGRAMS += tests/test_checkpoint tests/test_import tests/test_import_nomem tests/test_mcq
noinst_HEADERS += tests/import_case.h tests/import_tensors.h tests/zip_gen.h
EXTRA_DIST += tests/vectors/checkpoint
check_PROGRAMS += tests/test_coarse tests/test_coded tests/test_scalar
check_PROGRAMS += tests/test_vq tests/test_kmeans tests/test_rvq tests/test_codes
check_PROGRAMS += tests/test_rans tests/test_rans64 tests/test_freq
check_PROGRAMS += tests/test_histogram tests/test_rans8 tests/test_rows
noinst_HEADERS += tests/rans_gen.h
check_PROGRAMS += tests/test_torchac
check_PROGRAMS += tests/test_kv_methods tests/test_kv_cachegen
noinst_HEADERS += tests/kv_tile.h
check_PROGRAMS += tests/test_tables tests/test_plan tests/test_classes
check_PROGRAMS += tests/test_bigtable tests/test_packing tests/test_stream
check_PROGRAMS += tests/test_adaptive tests/test_range
check_PROGRAMS += tests/test_symbols_coder
check_PROGRAMS += tests/test_hyper tests/test_hyper_vectors tests/test_image
check_PROGRAMS += tests/test_image_nomem tests/test_video tests/test_video_bad
noinst_HEADERS += tests/image_toy.h tests/memory.h
noinst_HEADERS += tests/progress_count.h tests/video_case.h
check_PROGRAMS += tests/test_former tests/test_token_fill
EXTRA_DIST += tests/vectors/fill
EXTRA_DIST += tests/vectors/cachegen tests/cachegen_vector.py
noinst_HEADERS += tests/nn_twin.h
check_PROGRAMS += tests/test_token_book tests/test_token_nest tests/test_token_units \
	tests/test_tokens_golden tests/test_tokens_nest
noinst_HEADERS += tests/token_tensors.h
# Stores, and what streams to and from them.
check_PROGRAMS += tests/test_store
noinst_HEADERS += tests/store_case.h
tests_test_store_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_test_store_LDADD = libtsrnet.la $(CMOCKA_LIBS)
check_PROGRAMS += tests/test_store_dir
tests_test_store_dir_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE
tests_test_store_dir_LDADD = libtsrnet.la $(CMOCKA_LIBS)
noinst_HEADERS += tests/redis_server.h
if TSR_HIREDIS
check_PROGRAMS += tests/test_store_redis
tests_test_store_redis_CPPFLAGS = $(AM_CPPFLAGS) -D_GNU_SOURCE $(HIREDIS_CFLAGS)
tests_test_store_redis_LDADD = libtsrnet.la $(HIREDIS_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/test_store_redis_bad
tests_test_store_redis_bad_CPPFLAGS = $(tests_test_store_redis_CPPFLAGS)
tests_test_store_redis_bad_LDADD = $(tests_test_store_redis_LDADD)
endif
# Over HTTP, against servers that break their word.
check_PROGRAMS += tests/test_store_http
noinst_HEADERS += tests/store_peer.h
tests_test_store_http_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_test_store_http_LDADD = libtsrnet.la $(CMOCKA_LIBS)
if TSR_CURL
check_PROGRAMS += tests/test_store_s3
tests_test_store_s3_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_test_store_s3_LDADD = libtsrnet.la $(CMOCKA_LIBS)
endif
EXTRA_DIST += tests/store_server.py tests/s3_server.py
check_PROGRAMS += tests/test_kv_stream
noinst_HEADERS += tests/stream_case.h
tests_test_kv_stream_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_test_kv_stream_LDADD = libtsrnet.la -lm $(LDADD)
check_PROGRAMS += tests/test_kv_stream_bad
tests_test_kv_stream_bad_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_test_kv_stream_bad_LDADD = libtsrnet.la -lm $(LDADD)
check_PROGRAMS += tests/test_kv tests/test_kv_bad tests/test_kv_profiled
noinst_HEADERS += tests/kv_attack.h tests/kv_case.h tests/kv_profile_gen.h
check_PROGRAMS += tests/test_nn tests/test_nn_norm
noinst_HEADERS += tests/nn_pair.h
noinst_HEADERS += tests/nn_device_plain.h
check_PROGRAMS += tests/test_vqgan tests/test_mosaic tests/test_simvq tests/test_tokens \
	tests/test_token_bad tests/test_token_broken
noinst_HEADERS += tests/token_case.h
check_PROGRAMS += tests/test_image_batch tests/test_groups
noinst_HEADERS += tests/gpu_streams.h
check_PROGRAMS += tests/test_gpu_golden
noinst_HEADERS += tests/cuda_image.h
check_PROGRAMS += tests/cuda_image
tests_cuda_image_SOURCES = tests/cuda_image.c tests/cuda_image_memory.c \
	tests/cuda_image_batch.c \
	tests/cuda_image_ties.c
tests_cuda_image_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CPPFLAGS) -D_XOPEN_SOURCE=700
noinst_HEADERS += tests/token_vector.h
check_PROGRAMS += tests/test_golden
# Parts of the program, by themselves.
check_PROGRAMS += tests/test_audio_tokens tests/test_wav tests/test_sound_metrics \
	tests/test_sound_convert
tests_test_wav_SOURCES = tests/test_wav.c tools/args.h tools/input.c \
	tools/input.h tools/output.c tools/output.h tools/say.c tools/say.h \
	tools/args.c tools/io/wav.h tools/io/wav_read.c tools/io/wav_write.c
tests_test_sound_metrics_SOURCES = tests/test_sound_metrics.c \
	tools/sound_metrics.c tools/sound_metrics.h
tests_test_sound_convert_SOURCES = tests/test_sound_convert.c tools/say.c \
	tools/say.h tools/sound/convert.c tools/sound/convert.h \
	tools/sound/resample.h
if TSR_SOXR
tests_test_sound_convert_SOURCES += tools/sound/resample_soxr.c
else
tests_test_sound_convert_SOURCES += tools/sound/resample_none.c
endif
check_PROGRAMS += tests/test_media_parts
tests_test_media_parts_SOURCES = tests/test_media_parts.c tools/args.c \
	tools/args.h tools/input.c tools/input.h tools/output.c tools/output.h \
	tools/say.c tools/say.h tools/media/mix.c tools/media/mix.h \
	tools/media/planes.c tools/media/planes.h tools/media/planes_pack.c \
	tools/media/whole.c tools/media/whole.h tools/media/yuv.c \
	tools/media/yuv.h
tests_test_media_parts_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_test_wav_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_test_sound_convert_CPPFLAGS = $(AM_CPPFLAGS) $(SOXR_CFLAGS)
tests_test_sound_convert_LDADD = $(LDADD) $(SOXR_LIBS)
check_PROGRAMS += tests/test_iconv tests/test_seq_kernels
check_PROGRAMS += tests/test_seq tests/test_seq_state
noinst_HEADERS += tests/seq_net.h
# Not built by default: make tests/nn_speed
EXTRA_PROGRAMS += tests/nn_speed
CLEANFILES += tests/nn_speed$(EXEEXT)
check_PROGRAMS += tests/test_mcquic tests/test_mcquic_codec
check_PROGRAMS += tests/test_encodec tests/test_hificodec tests/test_sound
check_PROGRAMS += tests/test_find tests/test_semantic
EXTRA_DIST += tests/vectors/semantic
noinst_HEADERS += tests/audio_model.h tests/vector.h
# How fast the audio codecs are: make tests/audio_codec_speed
EXTRA_PROGRAMS += tests/audio_codec_speed
CLEANFILES += tests/audio_codec_speed$(EXEEXT)
EXTRA_DIST += tests/vectors/ac_encodec_f4_d32_16k \
	tests/vectors/hificodec_b8_r1_16k320 tests/vectors/hificodec_b8_r2_24k240
check_PROGRAMS += tests/test_kv_move
check_PROGRAMS += tests/test_kv_match tests/test_kv_profile \
	tests/test_kv_transform
check_PROGRAMS += tests/test_kv_floats tests/test_kv_move tests/test_kv_quantise \
	tests/test_kv_rope
noinst_HEADERS += tests/codes_gen.h
check_PROGRAMS += tests/test_audio_codes tests/test_codes_lm tests/test_ecdc tests/test_ecdc_file
EXTRA_DIST += tests/vectors/codes_lm tests/vectors/encodec_arith \
	tests/vectors/encodec_24k_f4_d32 \
	tests/vectors/encodec_48k_f4_d16 tests/vectors/sound
# Chunks in stores.
check_PROGRAMS += tests/test_kv_chunk
LDADD = libtsrcore.la $(CMOCKA_LIBS)
AM_CFLAGS += $(CMOCKA_CFLAGS)
endif

# Entropy coder and container: tables, streams and files that are fixed, a
# second implementation, and how fast it is (make tests/rans_speed).
EXTRA_PROGRAMS += tests/golden_tool tests/rans_speed tests/entropy_speed
CLEANFILES += tests/golden_tool$(EXEEXT) tests/rans_speed$(EXEEXT) \
	tests/entropy_speed$(EXEEXT)
tests_golden_tool_LDADD = libtsrcore.la
EXTRA_PROGRAMS += tests/rows_speed
CLEANFILES += tests/rows_speed$(EXEEXT)
tests_rows_speed_LDADD = libtsrcore.la
EXTRA_PROGRAMS += tests/plan_speed
CLEANFILES += tests/plan_speed$(EXEEXT)
tests_plan_speed_LDADD = libtsrcore.la
tests_rans_speed_LDADD = libtsrcore.la
tests_entropy_speed_LDADD = libtsrcore.la
# Large alphabets: make tests/bigtable_speed
EXTRA_PROGRAMS += tests/bigtable_speed
CLEANFILES += tests/bigtable_speed$(EXEEXT)
tests_bigtable_speed_LDADD = libtsrcore.la
noinst_HEADERS += tests/golden.h
check_SCRIPTS += tests/test_python.sh
tests/test_python.log: tests/golden_tool$(EXEEXT)
EXTRA_DIST += tests/test_python.sh tests/golden.py tests/tess_reader.py \
	tests/vectors/torchac tests/golden tests/vectors/hyper tests/vectors/mcquic_entropy \
	tests/vectors/mcquic_c12_m4_64x64 \
	tests/vectors/mcquic_c32_m2_100x130 \
	tests/vectors/simvq_ch32_48x64 tests/vectors/vqganlc_f16_ch32_64x96 \
	tests/vectors/vqganlc_f8_ch32_40x56 tests/vectors/mosaic

# The program tessera, as people use it: scripts, with a tiny random model.
if TSR_CMOCKA
EXTRA_PROGRAMS += tests/tiny_model tests/tiny_sound tests/tiny_tokens
CLEANFILES += tests/tiny_model$(EXEEXT) tests/tiny_sound$(EXEEXT) \
	tests/tiny_tokens$(EXEEXT)
tests/test_cli_tokens.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT) \
	tests/tiny_sound$(EXEEXT) tests/tiny_tokens$(EXEEXT)
tests/test_find_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT) \
	tests/tiny_sound$(EXEEXT)
tests/test_audio_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT) \
	tests/tiny_sound$(EXEEXT)
tests/test_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT)
tests/test_docs.log tests/test_manner.log: tessera$(EXEEXT) \
	tests/tiny_model$(EXEEXT) tests/tiny_sound$(EXEEXT)
tests/test_readme.log: tessera$(EXEEXT)
tests/test_cli_media.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT)
tests/test_media_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT) \
	tests/tiny_sound$(EXEEXT)
tests/test_media_info.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT)
tests/test_codebook.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT)
tests/test_nest_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT) \
	tests/tiny_tokens$(EXEEXT)
tests/test_kv_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT)
tests/test_import_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT)
endif
# How fast KV objects are: make tests/kv_speed
EXTRA_PROGRAMS += tests/kv_speed
CLEANFILES += tests/kv_speed$(EXEEXT)
tests_kv_speed_LDADD = libtsrcore.la
# How fast one-dimensional layers are: make tests/seq_speed
EXTRA_PROGRAMS += tests/seq_speed
CLEANFILES += tests/seq_speed$(EXEEXT)
tests_seq_speed_LDADD = libtsrcore.la
noinst_HEADERS += tests/seq_shapes.h
if TSR_ONEDNN
EXTRA_PROGRAMS += tests/seq_onednn_speed
CLEANFILES += tests/seq_onednn_speed$(EXEEXT)
tests_seq_onednn_speed_SOURCES = tests/onednn/seq_onednn_speed.c
tests_seq_onednn_speed_LDADD = libtsrcore.la $(ONEDNN_LIBS)
endif
# How fast the searches are: make tests/vq_speed
EXTRA_PROGRAMS += tests/vq_speed
CLEANFILES += tests/vq_speed$(EXEEXT)
tests_vq_speed_LDADD = libtsrcore.la
check_SCRIPTS += tests/test_import_cli.sh
EXTRA_DIST += tests/test_import_cli.sh
check_SCRIPTS += tests/test_audio_cli.sh
check_SCRIPTS += tests/test_find_cli.sh
EXTRA_DIST += tests/test_find_cli.sh
EXTRA_DIST += tests/test_audio_cli.sh tests/cli_sound.py
check_SCRIPTS += tests/test_media_cli.sh
EXTRA_DIST += tests/test_media_cli.sh tests/cli_video.py
check_SCRIPTS += tests/test_cli_tokens.sh
EXTRA_DIST += tests/test_cli_tokens.sh tests/cli_codes.py
check_SCRIPTS += tests/test_media_info.sh
EXTRA_DIST += tests/test_media_info.sh
check_SCRIPTS += tests/test_docs.sh tests/test_manner.sh tests/test_readme.sh
EXTRA_DIST += tests/test_docs.sh tests/test_manner.sh tests/test_readme.sh
check_SCRIPTS += tests/test_cli.sh tests/test_cli_media.sh \
	tests/test_codebook.sh tests/test_kv_cli.sh tests/test_nest_cli.sh
EXTRA_DIST += tests/test_codebook.sh tests/test_nest_cli.sh tests/cli_array.py \
	tests/test_kv_cli.sh tests/cli_kv.py
EXTRA_DIST += tests/test_cli.sh tests/test_cli_media.sh tests/cli.sh \
	tests/cli_media.py

# The tree: who includes whom, headers that stand alone, exported names, style.
tests/test_symbols.log: libtessera.la
EXTRA_DIST += lib/libtessera.list net/libtessera-net.list
check_SCRIPTS += tests/test_includes.sh tests/test_headers.sh \
	tests/test_symbols.sh tests/test_style.sh
EXTRA_DIST += tests/test_includes.sh tests/test_headers.sh \
	tests/test_symbols.sh tests/test_style.sh

# What is installed, used by somebody else.  After all other tests of the run:
# libtool links libtessera-net anew to install it, in the folder that they use.
tests/test_install.log: all-am $(filter-out tests/test_install.log,$(TEST_LOGS))
check_SCRIPTS += tests/test_install.sh
EXTRA_DIST += tests/test_install.sh

# Other compilers, instruction sets and options; by hand, or in CI.
EXTRA_DIST += tests/variant.sh tests/cppcheck.list .clang-tidy

# On a CUDA device; skipped where there is none.
check_PROGRAMS += tests/cuda_entropy
tests_cuda_entropy_LDADD = libtsrcore.la
check_PROGRAMS += tests/cuda_vq
tests_cuda_vq_LDADD = libtsrcore.la
if TSR_CUDA
check_PROGRAMS += tests/cuda_conv
endif
check_PROGRAMS += tests/cuda_hyper
check_PROGRAMS += tests/cuda_kv
noinst_HEADERS += tests/cuda_kv.h
tests_cuda_kv_SOURCES = tests/cuda_kv.c tests/cuda_kv_bench.c \
	tests/cuda_kv_problem.c tests/cuda_kv_profile.c
tests_cuda_kv_LDADD = libtsrcore.la
check_PROGRAMS += tests/cuda_kv_pull
tests_cuda_kv_pull_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
tests_cuda_kv_pull_LDADD = libtsrnet.la -lm $(LDADD)

# Models that learn, read by Python; and how fast (make tests/adaptive_speed).
EXTRA_PROGRAMS += tests/adaptive_tool tests/adaptive_speed
CLEANFILES += tests/adaptive_tool$(EXEEXT) tests/adaptive_speed$(EXEEXT)
tests_adaptive_tool_LDADD = libtsrcore.la
tests_adaptive_speed_LDADD = libtsrcore.la
tests/test_adaptive_python.log: tests/adaptive_tool$(EXEEXT)
check_SCRIPTS += tests/test_adaptive_python.sh
EXTRA_DIST += tests/test_adaptive_python.sh tests/adaptive_reader.py

# Pictures of tokens, read by Python.
if TSR_CMOCKA
EXTRA_PROGRAMS += tests/token_tool tests/token_pictures
CLEANFILES += tests/token_tool$(EXEEXT) tests/token_pictures$(EXEEXT)
tests/test_token_python.log: tests/token_tool$(EXEEXT)
tests/test_tokens_python.log: tests/token_pictures$(EXEEXT)
check_SCRIPTS += tests/test_token_python.sh tests/test_tokens_python.sh
endif
EXTRA_DIST += tests/test_token_python.sh tests/test_tokens_python.sh \
	tests/token_reader.py

# docs/entropy.md's tables, arrays and matrices, read by Python.
EXTRA_PROGRAMS += tests/entropy_tool
CLEANFILES += tests/entropy_tool$(EXEEXT)
tests_entropy_tool_LDADD = libtsrcore.la
tests/test_entropy_python.log: tests/entropy_tool$(EXEEXT)
check_SCRIPTS += tests/test_entropy_python.sh
EXTRA_DIST += tests/test_entropy_python.sh tests/entropy_check.py \
	tests/entropy_reader.py tests/rows_reader.py

# What the published KV methods do to a real cache: make tests/kv_methods_speed
EXTRA_PROGRAMS += tests/kv_methods_speed
CLEANFILES += tests/kv_methods_speed$(EXEEXT)
tests_kv_methods_speed_LDADD = libtsrcore.la -lm
# Caches to rows and back, how fast: make tests/kv_move_speed
EXTRA_PROGRAMS += tests/kv_move_speed
CLEANFILES += tests/kv_move_speed$(EXEEXT)
tests_kv_move_speed_LDADD = libtsrcore.la
# How fast the codes of sound are coded: make tests/codes_speed
EXTRA_PROGRAMS += tests/codes_speed
CLEANFILES += tests/codes_speed$(EXEEXT)
tests_codes_speed_LDADD = libtsrcore.la
# How fast the transforms of KV caches are: make tests/kv_transform_speed
EXTRA_PROGRAMS += tests/kv_transform_speed
CLEANFILES += tests/kv_transform_speed$(EXEEXT)
tests_kv_transform_speed_LDADD = libtsrcore.la
# What a store over HTTP costs: make tests/http_speed
EXTRA_PROGRAMS += tests/http_speed
CLEANFILES += tests/http_speed$(EXEEXT)
tests_http_speed_CPPFLAGS = $(AM_CPPFLAGS) -D_DEFAULT_SOURCE
tests_http_speed_LDADD = libtsrnet.la

# How fast nets over streams are: make tests/seq_net_speed
EXTRA_PROGRAMS += tests/seq_net_speed
CLEANFILES += tests/seq_net_speed$(EXEEXT)
tests_seq_net_speed_LDADD = libtsrcore.la -lm

# docs/kv-store.md's names and chunks, read by Python.
EXTRA_PROGRAMS += tests/kv_chunk_tool
CLEANFILES += tests/kv_chunk_tool$(EXEEXT)
tests_kv_chunk_tool_LDADD = libtessera.la
tests/test_kv_chunk_python.log: tessera$(EXEEXT) tests/kv_chunk_tool$(EXEEXT)
check_SCRIPTS += tests/test_kv_chunk_python.sh
EXTRA_DIST += tests/test_kv_chunk_python.sh tests/kv_chunk_check.py \
	tests/kv_chunk_reader.py

# The Python package of KV caches.
EXTRA_PROGRAMS += tests/kv_structs
CLEANFILES += tests/kv_structs$(EXEEXT)
tests_kv_structs_LDADD =
tests/test_kv_package.log: libtessera.la libtessera-net.la \
	tests/kv_structs$(EXEEXT)
check_SCRIPTS += tests/test_kv_package.sh
EXTRA_DIST += tests/test_kv_package.sh tests/kv_package.py

# The same with tensors on a GPU.
tests/test_kv_package_cuda.log: libtessera.la
check_SCRIPTS += tests/test_kv_package_cuda.sh
EXTRA_DIST += tests/test_kv_package_cuda.sh tests/kv_package_cuda.py

# docs/kv-format.md's objects, read by Python.
tests/test_kv_python.log: tessera$(EXEEXT)
check_SCRIPTS += tests/test_kv_python.sh
EXTRA_DIST += tests/test_kv_python.sh tests/kv_check.py tests/kv_reader.py

# Sound: streams around codecs of the tests' own.
if TSR_CMOCKA
noinst_HEADERS += tests/audio_case.h tests/audio_toy.h tests/audio_toy_case.h
check_PROGRAMS += tests/test_audio tests/test_audio_bad tests/test_audio_file \
	tests/test_audio_batch \
	tests/test_audio_loss tests/test_audio_nets tests/test_audio_state \
	tests/test_audio_carry tests/test_media tests/test_media_bad
check_PROGRAMS += tests/test_audio_ends tests/test_audio_search
noinst_HEADERS += tests/media_case.h
EXTRA_PROGRAMS += tests/audio_tool
CLEANFILES += tests/audio_tool$(EXEEXT)
tests/test_audio_python.log: tests/audio_tool$(EXEEXT) \
	examples/stream_audio$(EXEEXT)
check_SCRIPTS += tests/test_audio_python.sh
endif
EXTRA_DIST += tests/test_audio_python.sh tests/audio_reader.py

# Plugins of sound, in hosts of their own and in those that are installed.
if TSR_PLUGINS
if TSR_CMOCKA
check_PROGRAMS += tests/test_ladspa tests/test_lv2
noinst_HEADERS += tests/plugin_case.h
tests/test_ladspa_hosts.log: tessera$(EXEEXT) ladspa/tessera.so \
	tests/tiny_model$(EXEEXT)
tests/test_lv2_hosts.log: tessera$(EXEEXT) lv2/tessera.lv2/tessera.so \
	tests/tiny_model$(EXEEXT)
endif
check_SCRIPTS += tests/test_ladspa_hosts.sh tests/test_lv2_hosts.sh
endif
EXTRA_DIST += tests/test_ladspa_hosts.sh tests/plugin_sound.py

# The frei0r plugin as a host loads it, and in programs that people have.
if TSR_PLUGINS
if TSR_CMOCKA
check_PROGRAMS += tests/test_frei0r
EXTRA_tests_test_frei0r_DEPENDENCIES = frei0r-1/tessera.so
tests/test_frei0r_hosts.log: frei0r-1/tessera.so tessera$(EXEEXT) \
	tests/tiny_model$(EXEEXT)
endif
endif
check_SCRIPTS += tests/test_frei0r_hosts.sh
EXTRA_DIST += tests/test_frei0r_hosts.sh
EXTRA_DIST += tests/test_ladspa_hosts.sh tests/test_lv2_hosts.sh \
	tests/plugin_sound.py

# Any media in.
media_in_files = tools/args.c tools/args.h tools/input.c tools/input.h \
	tools/output.c tools/output.h tools/say.c tools/say.h \
	tools/io/picture.c tools/io/picture.h tools/io/picture_png.c \
	tools/io/picture_pnm.c tools/io/wav.h tools/io/wav_read.c \
	tools/sound/convert.c tools/sound/convert.h tools/sound/resample.h
media_in_libs = tools/libtsrin.a libtsrcore.la $(PNG_LIBS) $(SOXR_LIBS) \
	$(LIBAV_LIBS)
if TSR_SOXR
media_in_files += tools/sound/resample_soxr.c
else
media_in_files += tools/sound/resample_none.c
endif
if TSR_LIBAV
media_in_files += tools/media/av_io.c tools/media/whole.c
endif
if TSR_CMOCKA
check_PROGRAMS += tests/test_map tests/test_scale tests/test_track \
	tests/test_y4m tests/test_yuv
tests_test_map_SOURCES = tests/test_map.c tools/say.c tools/say.h
tests_test_map_LDADD = tools/libtsrin.a $(LDADD)
tests_test_scale_LDADD = tools/libtsrin.a $(LDADD)
tests_test_yuv_LDADD = tools/libtsrin.a $(LDADD)
tests_test_track_SOURCES = tests/test_track.c $(media_in_files)
tests_test_track_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700 $(PNG_CFLAGS) \
	$(SOXR_CFLAGS) $(LIBAV_CFLAGS)
tests_test_track_LDADD = $(media_in_libs) $(CMOCKA_LIBS)
tests_test_y4m_SOURCES = tests/test_y4m.c $(media_in_files)
tests_test_y4m_CPPFLAGS = $(tests_test_track_CPPFLAGS)
tests_test_y4m_LDADD = $(media_in_libs) $(CMOCKA_LIBS)
check_PROGRAMS += tests/test_absurd
tests_test_absurd_SOURCES = tests/test_absurd.c tools/io/array.c tools/io/array.h \
	$(media_in_files)
tests_test_absurd_CPPFLAGS = $(tests_test_track_CPPFLAGS)
tests_test_absurd_LDADD = $(media_in_libs) $(CMOCKA_LIBS)
endif
EXTRA_PROGRAMS += tests/media_dump
CLEANFILES += tests/media_dump$(EXEEXT)
tests_media_dump_SOURCES = tests/media_dump.c $(media_in_files)
tests_media_dump_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700 $(PNG_CFLAGS) \
	$(SOXR_CFLAGS) $(LIBAV_CFLAGS)
tests_media_dump_LDADD = $(media_in_libs)
tests/test_media_in.log: tessera$(EXEEXT) tests/media_dump$(EXEEXT) \
	tests/tiny_model$(EXEEXT) tests/tiny_sound$(EXEEXT)
check_SCRIPTS += tests/test_media_in.sh
EXTRA_DIST += tests/test_media_in.sh tests/media_in.py

if TSR_CMOCKA
check_PROGRAMS += tests/test_kv_control
tests_test_kv_control_LDADD = libtsrnet.la -lm $(LDADD)
endif

# tessera kv serve.
tests/test_kv_serve.log: tessera$(EXEEXT) tests/kv_chunk_tool$(EXEEXT)
check_SCRIPTS += tests/test_kv_serve.sh
EXTRA_DIST += tests/test_kv_serve.sh tests/kv_serve_case.py \
	tests/kv_serve_check.py

# tessera kv push and pull.
tests/test_kv_net_cli.log: tessera$(EXEEXT) tests/tiny_model$(EXEEXT)
check_SCRIPTS += tests/test_kv_net_cli.sh
EXTRA_DIST += tests/test_kv_net_cli.sh tests/cli_kv_net.py

# One-dimensional nets on a device.
check_PROGRAMS += tests/test_seq_device tests/cuda_seq tests/cuda_audio \
	tests/test_audio_gpu
EXTRA_DIST += tests/golden/gpu/sound.tess tests/golden/gpu/sound.s16 \
	tests/golden/gpu/encodec_24k_f4_d32.tess \
	tests/golden/gpu/encodec_24k_f4_d32.s16 \
	tests/golden/gpu/encodec_48k_f4_d16.tess \
	tests/golden/gpu/encodec_48k_f4_d16.s16 \
	tests/golden/gpu/hificodec_b8_r1_16k320.tess \
	tests/golden/gpu/hificodec_b8_r1_16k320.s16
noinst_HEADERS += tests/seq_device_case.h tests/seq_device_plain.h \
	tests/cuda_audio_bench.h tests/cuda_audio_case.h
# SemantiCodec's decoder on a device.
check_PROGRAMS += tests/cuda_semanticodec
noinst_HEADERS += tests/semanticodec_big.h tests/plane_device_plain.h \
	tests/cuda_semanticodec_steps.h
# Features of recognisers, against torchaudio 2.11: features.npy is
# torchaudio.compliance.kaldi.fbank() of input.npy (htk_compat, no dither, no
# energy, hanning, 128 bands, 10 ms).
check_PROGRAMS += tests/test_fbank
EXTRA_DIST += tests/vectors/fbank/input.npy tests/vectors/fbank/features.npy
# X-Codec's decoder; meta.json tells how the vector was made.
check_PROGRAMS += tests/test_xcodec
EXTRA_DIST += tests/vectors/xcodec
# SemantiCodec's decoder; meta.json tells how the vector was made.
check_PROGRAMS += tests/test_semanticodec_decoder
EXTRA_DIST += tests/vectors/semanticodec_decoder
# SemantiCodec's encoder; meta.json tells how the vectors were made.
check_PROGRAMS += tests/test_semanticodec
EXTRA_DIST += tests/vectors/semanticodec_k1 tests/vectors/semanticodec_k2 \
	tests/vectors/semanticodec_k4
check_PROGRAMS += tests/cuda_nn
noinst_HEADERS += tests/cuda_nn.h tests/nn_graphs.h tests/nn_nets.h \
	tests/nn_pairs.h
tests_cuda_nn_SOURCES = tests/cuda_nn.c tests/cuda_nn_bench.c \
	tests/cuda_nn_same.c tests/cuda_nn_batch.c
noinst_HEADERS += tests/nn_batch.h
