# SPDX-License-Identifier: BSD-2-Clause
noinst_HEADERS += lib/nn/backend.h lib/nn/net.h
libtsrcore_la_SOURCES += lib/nn/plain.c

if TSR_ONEDNN
libtsrcore_la_SOURCES += lib/nn/onednn/onednn.c
libtsrcore_la_LIBADD += $(ONEDNN_LIBS)
else
libtsrcore_la_SOURCES += lib/nn/onednn/onednn_none.c
endif
