# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += docs/audio-format.md docs/design.md docs/entropy.md docs/format.md docs/audio.md docs/kv.md docs/kv-format.md docs/models.md \
	docs/vq.md docs/sample.md docs/sample.png docs/sample.wav docs/sample-kv.safetensors docs/codecs/hyper.md \
	docs/codecs/mcquic.md docs/codecs/encodec.md docs/codecs/hificodec.md
