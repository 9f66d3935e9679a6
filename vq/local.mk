# SPDX-License-Identifier: BSD-2-Clause
noinst_HEADERS += vq/coarse.h vq/codebook.h vq/kmeans.h vq/nearest.h \
	vq/project.h vq/rows.h vq/rvq.h vq/scalar.h
libtsrcore_la_SOURCES += vq/coarse.c vq/codebook.c vq/coded.c \
	vq/kmeans.c vq/kmeans_seed.c vq/nearest.c \
	vq/prepared.c vq/project.c vq/rows.c vq/rvq.c vq/scalar.c vq/scalar_train.c vq/stats.c
if TSR_X86
libtsravx2_la_SOURCES += vq/x86/coarse_avx2.c vq/x86/nearest_avx2.c vq/x86/scalar_avx2.c
else
libtsrcore_la_SOURCES += vq/x86/coarse_none.c vq/x86/nearest_none.c vq/x86/scalar_none.c
endif
