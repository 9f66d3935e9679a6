# SPDX-License-Identifier: BSD-2-Clause
noinst_HEADERS += entropy/bank.h entropy/bank_impl.h entropy/bigtable.h \
	entropy/freq.h entropy/packing.h entropy/plan.h entropy/rans.h entropy/rans64.h \
	entropy/torchac.h
libtsrcore_la_SOURCES += entropy/bank.c entropy/bigtable.c entropy/freq.c \
	entropy/rans.c entropy/rans64.c entropy/torchac.c
noinst_HEADERS += entropy/rans_impl.h
libtsrcore_la_SOURCES += entropy/rans_dec.c

noinst_HEADERS += entropy/histogram.h entropy/x86/lanes_avx2.h
libtsrcore_la_SOURCES += entropy/histogram.c

# Tables as bytes, and many small models.
noinst_HEADERS += entropy/classes.h entropy/plan_impl.h entropy/shapes.h \
	entropy/shapes_table.h entropy/tables.h
libtsrcore_la_SOURCES += entropy/classes.c entropy/plan.c entropy/shapes.c entropy/tables.c
EXTRA_DIST += entropy/shapes_table.py
if TSR_X86
libtsravx2_la_SOURCES += entropy/x86/transpose_avx2.c
else
libtsrcore_la_SOURCES += entropy/x86/transpose_none.c
endif

# Models that learn, and a coder for tiny streams.
noinst_HEADERS += entropy/adaptive.h entropy/adaptive_impl.h entropy/range.h
libtsrcore_la_SOURCES += entropy/adaptive.c entropy/adaptive_dec.c
libtsrcore_la_SOURCES += entropy/adaptive_enc.c entropy/range.c
if TSR_X86
libtsravx2_la_SOURCES += entropy/x86/adaptive_avx2.c
else
libtsrcore_la_SOURCES += entropy/x86/adaptive_none.c
endif

# Raw bits in bulk, large alphabets, packed tokens.
noinst_HEADERS += entropy/rans_bits.h
libtsrcore_la_SOURCES += entropy/packing.c entropy/rans_bits.c
if TSR_X86
libtsravx2_la_SOURCES += entropy/x86/bits_avx2.c
else
libtsrcore_la_SOURCES += entropy/x86/bits_none.c
endif

# Arrays of symbols, the public coder.
noinst_HEADERS += entropy/symbols.h
noinst_HEADERS += entropy/symbols_job.h
libtsrcore_la_SOURCES += entropy/symbols.c entropy/symbols_count.c \
	entropy/symbols_enc.c entropy/symbols_head.c entropy/symbols_ints.c \
	entropy/symbols_look.c \
	entropy/symbols_adapt.c entropy/symbols_large.c
if TSR_X86
libtsravx2_la_SOURCES += entropy/x86/symbols_avx2.c
else
libtsrcore_la_SOURCES += entropy/x86/symbols_none.c
endif

if TSR_X86
libtsravx2_la_SOURCES += entropy/x86/rans_avx2.c entropy/x86/rans_enc_avx2.c \
	entropy/x86/rans_enc8_avx2.c entropy/x86/rans_slots_avx2.c \
	entropy/x86/rans_search_avx2.c
else
libtsrcore_la_SOURCES += entropy/x86/rans_none.c
endif

# Plans on the GPU.
noinst_HEADERS += entropy/cuda/plan.cuh entropy/cuda/plan_cuda.h \
	entropy/cuda/plan_kernels.h
if TSR_CUDA
libtsrcuda_la_SOURCES += entropy/cuda/plan_cuda.c entropy/cuda/plan_dec.cu \
	entropy/cuda/plan_enc.cu entropy/cuda/plan_move.cu
cuda_deps += entropy/cuda/$(DEPDIR)/plan_dec.cu.d \
	entropy/cuda/$(DEPDIR)/plan_enc.cu.d entropy/cuda/$(DEPDIR)/plan_move.cu.d
else
libtsrcore_la_SOURCES += entropy/cuda/plan_nocuda.c
endif

# Rows: matrices whose columns have tables of their own.
noinst_HEADERS += entropy/rows.h entropy/rows_impl.h entropy/rows_table.h
libtsrcore_la_SOURCES += entropy/rows.c
EXTRA_DIST += entropy/rows_table.py
if TSR_X86
libtsravx2_la_SOURCES += entropy/x86/rows_avx2.c entropy/x86/rows_enc_avx2.c
else
libtsrcore_la_SOURCES += entropy/x86/rows_none.c
endif

# EnCodec's arithmetic coder.
noinst_HEADERS += entropy/ecdc.h
libtsrcore_la_SOURCES += entropy/ecdc.c
