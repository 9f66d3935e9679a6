# SPDX-License-Identifier: BSD-2-Clause
bin_PROGRAMS += tessera
tessera_SOURCES = tools/args.c tools/args.h tools/cmd_codebook.c tools/cmd_compare.c \
	tools/cmd_decode.c tools/cmd_encode.c tools/cmd_info.c \
	tools/cmd_models.c tools/commands.h tools/engine.c tools/engine.h \
	tools/input.c tools/input.h tools/json.c tools/json.h tools/metrics.c \
	tools/metrics.h tools/output.c tools/output.h tools/paths.c \
	tools/progress.c tools/progress.h tools/say.c tools/say.h \
	tools/tessera.c tools/io/array.c tools/io/array.h tools/io/picture.c tools/io/picture.h \
	tools/io/picture_png.c tools/io/picture_pnm.c
# The program sees POSIX and the public headers, nothing of the library's own.
tessera_CPPFLAGS = $(AM_CPPFLAGS) -D_XOPEN_SOURCE=700 $(PNG_CFLAGS)
tessera_LDADD = libtessera.la $(PNG_LIBS)
