# SPDX-License-Identifier: BSD-2-Clause
noinst_HEADERS += vq/codebook.h vq/nearest.h
libtsrcore_la_SOURCES += vq/codebook.c vq/nearest.c
if TSR_X86
libtsravx2_la_SOURCES += vq/x86/nearest_avx2.c
else
libtsrcore_la_SOURCES += vq/x86/nearest_none.c
endif
