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

# On the GPU.
noinst_HEADERS += vq/cuda/nearest_common.cuh vq/cuda/nearest_cuda.h \
	vq/cuda/nearest_kernels.h
if TSR_CUDA
libtsrcuda_la_SOURCES += vq/cuda/nearest_cuda.c vq/cuda/nearest.cu \
	vq/cuda/nearest_sweep.cu vq/cuda/nearest_sweep90.cu
cuda_deps += vq/cuda/$(DEPDIR)/nearest.cu.d \
	vq/cuda/$(DEPDIR)/nearest_sweep.cu.d vq/cuda/$(DEPDIR)/nearest_sweep90.cu.d
# Its instructions exist on that processor alone.
vq/cuda/nearest_sweep90.lo: CUDA_GENCODE = -gencode=arch=compute_90a,code=sm_90a
else
libtsrcore_la_SOURCES += vq/cuda/nearest_nocuda.c
endif

# Residual searches there.
noinst_HEADERS += vq/cuda/rvq_cuda.h vq/cuda/rvq_kernels.h
if TSR_CUDA
libtsrcuda_la_SOURCES += vq/cuda/rvq_cuda.c vq/cuda/rvq.cu
cuda_deps += vq/cuda/$(DEPDIR)/rvq.cu.d
else
libtsrcore_la_SOURCES += vq/cuda/rvq_nocuda.c
endif
