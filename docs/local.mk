# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += docs/design.md docs/models.md docs/format.md docs/codecs/hyper.md docs/codecs/mcquic.md
EXTRA_DIST += docs/sample.png docs/sample.md
EXTRA_DIST += docs/design.md docs/format.md docs/codecs/hyper.md docs/codecs/mcquic.md
EXTRA_DIST += docs/sample.png docs/sample.md docs/vq.md
