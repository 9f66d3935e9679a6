# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += bench/photos.txt bench/photos.py
EXTRA_DIST += bench/machine.py bench/curves.py bench/peers.py bench/sheet.py bench/rd-image
EXTRA_DIST += bench/rd_page.py bench/perceptual.py bench/image-requirements.txt
EXTRA_DIST += bench/rd-audio bench/audio_metrics.py bench/audio_peers.py bench/audio-requirements.txt
EXTRA_DIST += bench/speed-audio bench/speed_audio_torch.py bench/random_audio.py
EXTRA_DIST += bench/rd-speech bench/speech_words.py bench/speech-requirements.txt
EXTRA_DIST += bench/sounds.txt bench/sounds.py
EXTRA_DIST += bench/speed-image bench/speed_image_torch.py bench/random_mcquic.py bench/random_vqgan.py
EXTRA_DIST += bench/media
EXTRA_DIST += bench/loss
EXTRA_DIST += bench/results
EXTRA_DIST += bench/quick
EXTRA_DIST += bench/kv-serve
EXTRA_DIST += bench/entropy bench/entropy_peers.c
EXTRA_DIST += bench/kv-quality bench/kv-requirements.txt bench/kv_lm.py bench/kv_measure.py
EXTRA_DIST += bench/kv-points.txt bench/kv_points.py bench/kv_page.py bench/kv_peers.py
EXTRA_DIST += training/kv_stats.py training/tensorfile.py
EXTRA_DIST += bench/vq bench/vq_worker.py bench/vq_gpu.py
EXTRA_DIST += bench/kv-net bench/kv_link.c bench/kv-load
noinst_HEADERS += bench/entropy_data.h bench/vq_data.h bench/kv_data.h
# Stores beside cp and redis-benchmark: make bench/store_speed && bench/store bench/store_speed FOLDER...
EXTRA_DIST += bench/store
EXTRA_PROGRAMS += bench/store_speed
CLEANFILES += bench/store_speed$(EXEEXT)
bench_store_speed_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
bench_store_speed_LDADD = libtessera-net.la libtessera.la
# Policies for streamed caches on simulated links: make bench/kv_stream
EXTRA_PROGRAMS += bench/kv_stream
CLEANFILES += bench/kv_stream$(EXEEXT)
bench_kv_stream_LDADD = libtessera-net.la -lm
EXTRA_DIST += bench/kv-stream bench/kv-stream.md bench/kv-stream-requirements.txt
# Codecs on a GPU beside PyTorch: make bench/gpu_speed && bench/gpu
EXTRA_DIST += bench/gpu bench/gpu_torch.py bench/gpu_page.py
EXTRA_PROGRAMS += bench/gpu_speed
CLEANFILES += bench/gpu_speed$(EXEEXT)
bench_gpu_speed_SOURCES = bench/gpu_speed.c bench/gpu_speed_code.c \
	bench/gpu_speed_save.c bench/gpu_speed.h
bench_gpu_speed_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700
bench_gpu_speed_LDADD = libtessera.la -lm
bench_gpu_speed_LDFLAGS = -pthread
