# SPDX-License-Identifier: BSD-2-Clause
bin_PROGRAMS += tessera
tessera_SOURCES = tools/args.c tools/args.h tools/chunks.c tools/chunks.h tools/cmd_codebook.c tools/cmd_compare.c \
	tools/cmd_decode.c tools/cmd_encode.c tools/cmd_info.c \
	tools/cmd_import.c tools/foreign.c \
	tools/cmd_models.c tools/commands.h tools/engine.c tools/engine.h \
	tools/input.c tools/input.h tools/json.c tools/json.h tools/metrics.c \
	tools/metrics.h tools/output.c tools/output.h tools/paths.c \
	tools/help.c tools/help.h tools/help_bash.c tools/help_page.c \
	tools/manner.c tools/manner.h tools/manner_choose.c tools/manner_impl.h \
	tools/progress.c tools/progress.h tools/say.c tools/say.h \
	tools/tessera.c tools/io/array.c tools/io/array.h tools/io/picture.c tools/io/picture.h \
	tools/io/picture_png.c tools/io/picture_pnm.c
tessera_SOURCES += tools/kv/cachegen.c
tessera_SOURCES += tools/kv/bench.c tools/kv/cache.c tools/kv/cache.h \
	tools/kv/cmd_kv.c tools/kv/common.c tools/kv/compare.c \
	tools/kv/error.h tools/kv/info.c tools/kv/layout.c tools/kv/layout.h \
	tools/kv/objects.c tools/kv/pack.c tools/kv/unpack.c tools/kv/verbs.h
tessera_SOURCES += tools/kv/push.c tools/kv/pull.c tools/kv/transfer.c tools/kv/transfer.h
tessera_SOURCES += tools/kv/ls.c tools/kv/remote.c tools/kv/remote.h tools/kv/rm.c
tessera_SOURCES += tools/kv/serve.h tools/kv/serve_http.h
if TSR_MHD
tessera_SOURCES += tools/kv/serve.c tools/kv/serve_body.c tools/kv/serve_chunk.c \
	tools/kv/serve_conn.c tools/kv/serve_feed.c tools/kv/serve_http.c \
	tools/kv/serve_listen.c tools/kv/serve_metrics.c \
	tools/kv/serve_pool.c tools/kv/serve_range.c tools/kv/serve_tokens.c
else
tessera_SOURCES += tools/kv/serve_none.c
endif
# Calibration needs LAPACK; the library does not.
tessera_SOURCES += tools/kv/calibrate.h tools/kv/linear.h tools/kv/store.h tools/kv/tables.h
if TSR_LAPACK
tessera_SOURCES += tools/kv/calibrate.c tools/kv/linear.c tools/kv/metric.c tools/kv/plain.c \
	tools/kv/profile.c tools/kv/references.c tools/kv/store.c tools/kv/tables.c
else
tessera_SOURCES += tools/kv/profile_none.c
endif
tessera_SOURCES += tools/codebook_nest.c tools/codebook_nest.h
tessera_SOURCES += tools/batch.c tools/batch.h tools/cmd_tokens.c \
	tools/cmd_transcode.c tools/pictures.c tools/pictures.h tools/tokens.h \
	tools/tokens_picture.c tools/tokens_sound.c tools/io/wav.h tools/io/wav_read.c \
	tools/io/wav_write.c tools/sound_metrics.c tools/sound_metrics.h \
	tools/sound/compare.c tools/sound/convert.c tools/sound/convert.h \
	tools/sound/decode.c tools/sound/encode.c tools/sound/info.c \
	tools/sound/resample.h tools/sound/sink.c tools/sound/sink.h \
	tools/sound/sound.h tools/sound/source.c tools/sound/source.h
tessera_SOURCES += tools/tokens_find.c
tessera_SOURCES += tools/media/info.c tools/media/info.h
if TSR_SOXR
tessera_SOURCES += tools/sound/resample_soxr.c
else
tessera_SOURCES += tools/sound/resample_none.c
endif
# Any media in: readers of our own, and libav for the rest.  Tests have them, too.
noinst_LIBRARIES += tools/libtsrin.a
tools_libtsrin_a_SOURCES = tools/media/in.c tools/media/in.h \
	tools/media/in_frames.c tools/media/in_frames.h \
	tools/media/in_picture.c tools/media/in_raw.c tools/media/in_wav.c \
	tools/media/in_y4m.c tools/media/map.c tools/media/map.h \
	tools/media/planes.c tools/media/planes.h tools/media/reader.h \
	tools/media/scale.c tools/media/scale.h tools/media/track.c \
	tools/media/track.h tools/media/turn.c tools/media/turn.h \
	tools/media/yuv.c tools/media/yuv.h
if TSR_LIBAV
tools_libtsrin_a_SOURCES += tools/media/av.h tools/media/av_log.c \
	tools/media/in_av.c tools/media/in_av_frame.c \
	tools/media/in_av_impl.h tools/media/in_av_sound.c
else
tools_libtsrin_a_SOURCES += tools/media/in_av_none.c
endif
tools_libtsrin_a_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700 $(LIBAV_CFLAGS)
# Coded packets in files, and what is made of them.
tessera_SOURCES += tools/media/encode.c tools/media/encode.h \
	tools/media/mix.c tools/media/mix.h tools/media/packets.c \
	tools/media/packets.h tools/media/packets_impl.h \
	tools/media/packets_tess.c
tessera_SOURCES += tools/cmd_remux.c tools/media/choose.c tools/media/choose.h \
	tools/media/decode.c tools/media/decode.h tools/media/planes_pack.c \
	tools/media/sink.h tools/media/sink_frames.c \
	tools/media/sink_pictures.c tools/media/sink_wav.c
if TSR_LIBAV
tessera_SOURCES += tools/media/av_io.c tools/media/av_io.h \
	tools/media/packets_av.h tools/media/packets_av_in.c \
	tools/media/packets_av_out.c tools/media/sink_av.c tools/media/sink_av.h \
	tools/media/sink_av_sound.c tools/media/sink_av_video.c \
	tools/media/whole.c tools/media/whole.h
else
tessera_SOURCES += tools/media/packets_av_none.c tools/media/sink_av_none.c
endif
# The program sees POSIX and the public headers, nothing of the library's own.
tessera_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700 \
	-DTSR_DATADIR='"$(pkgdatadir)"' $(PNG_CFLAGS) $(SOXR_CFLAGS) $(LIBAV_CFLAGS) $(MHD_CFLAGS)
tessera_LDADD = tools/libtsrin.a libtessera-net.la libtessera.la $(PNG_LIBS) $(SOXR_LIBS) $(LIBAV_LIBS) $(MHD_LIBS) $(LAPACK_LIBS)

# The Python package, which needs no compiler: pip install tools/kv/python
EXTRA_DIST += tools/kv/python/README.md tools/kv/python/pyproject.toml \
	tools/kv/python/tessera_kv/__init__.py \
	tools/kv/python/tessera_kv/_library.py \
	tools/kv/python/tessera_kv/chunks.py tools/kv/python/tessera_kv/codec.py \
	tools/kv/python/tessera_kv/cuda.py \
	tools/kv/python/tessera_kv/jobs.py \
	tools/kv/python/tessera_kv/lmcache.py \
	tools/kv/python/tessera_kv/stores.py tools/kv/python/tessera_kv/views.py
