# SPDX-License-Identifier: BSD-2-Clause
pkginclude_HEADERS =
pkginclude_HEADERS += include/tessera/audio.h
pkginclude_HEADERS += include/tessera/context.h
pkginclude_HEADERS += include/tessera/ecdc.h
pkginclude_HEADERS += include/tessera/entropy.h
pkginclude_HEADERS += include/tessera/error.h
pkginclude_HEADERS += include/tessera/image.h
pkginclude_HEADERS += include/tessera/import.h
pkginclude_HEADERS += include/tessera/io.h
pkginclude_HEADERS += include/tessera/kv.h
pkginclude_HEADERS += include/tessera/kv_cachegen.h
pkginclude_HEADERS += include/tessera/kv_chunk.h
pkginclude_HEADERS += include/tessera/mcq.h
pkginclude_HEADERS += include/tessera/media.h
pkginclude_HEADERS += include/tessera/model.h
pkginclude_HEADERS += include/tessera/stream.h
pkginclude_HEADERS += include/tessera/tessera.h
pkginclude_HEADERS += include/tessera/tokens.h
pkginclude_HEADERS += include/tessera/video.h
pkginclude_HEADERS += include/tessera/vq.h
nodist_pkginclude_HEADERS = include/tessera/version.h
# Checkpoints of other programs.
noinst_HEADERS += lib/checkpoint.h lib/checkpoint_impl.h lib/pickle.h \
	lib/pickle_impl.h lib/safetensors.h lib/zip.h
noinst_HEADERS += lib/bytes.h lib/core.h lib/crc32c.h lib/json.h lib/modl.h \
	lib/model_path.h lib/model_write.h lib/nn/iconv.h lib/pool.h lib/sha256.h lib/source.h lib/weights.h \
	lib/x86/seq_avx2.h

lib_LTLIBRARIES += libtessera.la
# All code sits in a convenience library, so that the tests reach the hidden
# symbols; the installed library is that plus the export rule.
noinst_LTLIBRARIES += libtsrcore.la
libtsrcore_la_SOURCES = lib/core.c lib/cpu.c lib/crc32c.c lib/error.c \
	lib/json.c lib/modl.c lib/model.c lib/model_path.c lib/model_write.c lib/nn/iconv.c lib/pool.c \
	lib/sha256.c \
	lib/source.c lib/stream.c \
	lib/weights.c
libtsrcore_la_SOURCES += lib/checkpoint.c lib/checkpoint_numpy.c \
	lib/checkpoint_safetensors.c lib/checkpoint_torch.c lib/pickle.c \
	lib/pickle_make.c lib/pickle_values.c lib/safetensors.c lib/zip.c
libtsrcore_la_SOURCES += lib/pickle_torch.c
libtsrcore_la_SOURCES += lib/checkpoint_gguf.c
libtsrcore_la_CPPFLAGS = $(AM_CPPFLAGS) -DTSR_DATADIR='"$(pkgdatadir)"'
# What knows the prefix is made anew when configure is given another one.
knows_prefix = lib/libtsrcore_la-model_path.lo tools/tessera-help_page.$(OBJEXT)
$(knows_prefix): Makefile
libtsrcore_la_CFLAGS = $(AM_CFLAGS) $(ZLIB_CFLAGS)
libtsrcore_la_LIBADD = $(ZLIB_LIBS)

# Files of one instruction set need flags of their own, so a library each.
if TSR_X86
noinst_LTLIBRARIES += libtsrsse42.la libtsravx2.la
libtsrsse42_la_SOURCES = lib/x86/crc32c_sse42.c lib/x86/sha256_ni.c
libtsrsse42_la_CFLAGS = $(AM_CFLAGS) -msse4.2 -msha
libtsravx2_la_SOURCES = lib/x86/iconv_avx2.c lib/x86/seq_avx2.c \
	lib/x86/seq_conv_avx2.c
libtsravx2_la_CFLAGS = $(AM_CFLAGS) -mavx2 -mfma -mf16c -mbmi -mbmi2 -mpopcnt
libtsrcore_la_LIBADD += libtsrsse42.la libtsravx2.la
else
libtsrcore_la_SOURCES += lib/x86/crc32c_none.c lib/x86/iconv_none.c \
	lib/x86/seq_none.c lib/x86/sha256_none.c
endif

# CUDA: .cu files hold kernels and extern "C" launchers, X_cuda.c the logic;
# X_nocuda.c stands in for them in a build without.
noinst_HEADERS += lib/cuda/device.h lib/cuda/device_cuda.h
if TSR_CUDA
noinst_LTLIBRARIES += libtsrcuda.la
libtsrcuda_la_SOURCES = lib/cuda/device_cuda.c
libtsrcuda_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CPPFLAGS)
libtsrcuda_la_LIBADD = $(CUDA_LIBS)
libtsrcore_la_LIBADD += libtsrcuda.la
else
libtsrcore_la_SOURCES += lib/cuda/device_nocuda.c
endif

include lib/nn/local.mk

libtessera_la_SOURCES =
libtessera_la_LIBADD = libtsrcore.la
libtessera_la_LDFLAGS = -version-info $(TSR_LT_VERSION) -no-undefined \
	-Wl,-z,defs -export-symbols-regex '^tsr_'
