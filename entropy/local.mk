# SPDX-License-Identifier: BSD-2-Clause
noinst_HEADERS += entropy/bank.h entropy/bigtable.h entropy/freq.h \
	entropy/rans.h entropy/rans64.h
