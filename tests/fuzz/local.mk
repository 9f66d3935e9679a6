# SPDX-License-Identifier: BSD-2-Clause
# Fuzz targets, replayed with their corpora: a file fuzz_X.c, a folder corpus/X
# and a line each.  tests/fuzz/run.sh is the fuzzing itself.
noinst_HEADERS += tests/fuzz/fuzz.h
EXTRA_DIST += tests/fuzz/run.sh tests/fuzz/corpus
check_PROGRAMS += $(TSR_FUZZ)
TSR_FUZZ =
TSR_REPLAY = tests/fuzz/replay.c

TSR_FUZZ += tests/fuzz/fuzz_bigtable
tests_fuzz_fuzz_bigtable_SOURCES = tests/fuzz/fuzz_bigtable.c $(TSR_REPLAY)
tests_fuzz_fuzz_bigtable_LDADD = libtsrcore.la
TSR_FUZZ += tests/fuzz/fuzz_plan
tests_fuzz_fuzz_plan_SOURCES = tests/fuzz/fuzz_plan.c $(TSR_REPLAY)
tests_fuzz_fuzz_plan_LDADD = libtsrcore.la
TSR_FUZZ += tests/fuzz/fuzz_rans
tests_fuzz_fuzz_rans_SOURCES = tests/fuzz/fuzz_rans.c $(TSR_REPLAY)
tests_fuzz_fuzz_rans_LDADD = libtsrcore.la
TSR_FUZZ += tests/fuzz/fuzz_rans64
tests_fuzz_fuzz_rans64_SOURCES = tests/fuzz/fuzz_rans64.c $(TSR_REPLAY)
tests_fuzz_fuzz_rans64_LDADD = libtsrcore.la
TSR_FUZZ += tests/fuzz/fuzz_symbols
tests_fuzz_fuzz_symbols_SOURCES = tests/fuzz/fuzz_symbols.c $(TSR_REPLAY)
tests_fuzz_fuzz_symbols_LDADD = libtsrcore.la
TSR_FUZZ += tests/fuzz/fuzz_torchac
tests_fuzz_fuzz_torchac_SOURCES = tests/fuzz/fuzz_torchac.c $(TSR_REPLAY)
tests_fuzz_fuzz_torchac_LDADD = libtsrcore.la
TSR_FUZZ += tests/fuzz/fuzz_packing
tests_fuzz_fuzz_packing_SOURCES = tests/fuzz/fuzz_packing.c $(TSR_REPLAY)
tests_fuzz_fuzz_packing_LDADD = libtsrcore.la
TSR_FUZZ += tests/fuzz/fuzz_sorted
tests_fuzz_fuzz_sorted_SOURCES = tests/fuzz/fuzz_sorted.c $(TSR_REPLAY)
tests_fuzz_fuzz_sorted_LDADD = libtsrcore.la
