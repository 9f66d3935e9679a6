# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += docs/design.md docs/codecs/hyper.md docs/codecs/mcquic.md
