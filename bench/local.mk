# SPDX-License-Identifier: BSD-2-Clause
EXTRA_DIST += bench/photos.txt bench/photos.py
