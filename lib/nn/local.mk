# SPDX-License-Identifier: BSD-2-Clause
noinst_HEADERS += lib/nn/backend.h lib/nn/exp.h lib/nn/former.h \
	lib/nn/device.h lib/nn/net.h lib/nn/net_internal.h lib/nn/norm_row.h \
	lib/nn/seq.h lib/nn/seq_internal.h lib/nn/seq_kernels.h
libtsrcore_la_SOURCES += lib/nn/former.c lib/nn/net_build.c lib/nn/net_plan.c \
	lib/nn/net_rows.c lib/nn/net_norm.c lib/nn/net_attention.c \
	lib/nn/net_run.c lib/nn/net_tile.c lib/nn/plain.c lib/nn/seq_conv.c \
	lib/nn/seq_curve.c lib/nn/seq_kernels.c lib/nn/seq_lstm.c
# Planes computed whole, for UNets.
noinst_HEADERS += lib/nn/ivdep.h
noinst_HEADERS += lib/nn/plane.h
libtsrcore_la_SOURCES += lib/nn/plane.c
libtsrcore_la_SOURCES += lib/nn/seq_build.c lib/nn/seq_length.c \
	lib/nn/seq_run.c lib/nn/seq_state.c lib/nn/seq_step.c lib/nn/seq_track.c

if TSR_X86
libtsravx2_la_SOURCES += lib/x86/norm_avx2.c
else
libtsrcore_la_SOURCES += lib/x86/norm_none.c
endif

if TSR_ONEDNN
libtsrcore_la_SOURCES += lib/nn/onednn/onednn.c
libtsrcore_la_LIBADD += $(ONEDNN_LIBS)
else
libtsrcore_la_SOURCES += lib/nn/onednn/onednn_none.c
endif
libtsrcore_la_SOURCES += lib/nn/net_device.c lib/nn/net_device.h
libtsrcore_la_SOURCES += lib/nn/net_device_io.c

# Nets on a GPU want cuDNN's header; its library is opened at run time.
noinst_HEADERS += lib/nn/cuda/attend_cuda.h
noinst_HEADERS += lib/nn/cuda/dnn.h
noinst_HEADERS += lib/nn/cuda/dnn_inside.h
noinst_HEADERS += lib/nn/cuda/nn_cuda.h
noinst_HEADERS += lib/nn/cuda/steps.cuh
noinst_HEADERS += lib/nn/cuda/steps_kernels.h
if TSR_CUDA
if TSR_CUDNN
libtsrcuda_la_SOURCES += lib/nn/cuda/attend_cuda.c
libtsrcuda_la_SOURCES += lib/nn/cuda/dnn_cuda.c
libtsrcuda_la_SOURCES += lib/nn/cuda/dnn_graph_cuda.c
libtsrcuda_la_SOURCES += lib/nn/cuda/dnn_engine_cuda.c
libtsrcuda_la_SOURCES += lib/nn/cuda/dnn_plan_cuda.c
libtsrcuda_la_SOURCES += lib/nn/cuda/nn_cuda.c
libtsrcuda_la_SOURCES += lib/nn/cuda/steps_attend.cu
libtsrcuda_la_SOURCES += lib/nn/cuda/steps_conv.cu
libtsrcuda_la_SOURCES += lib/nn/cuda/steps_io.cu
libtsrcuda_la_SOURCES += lib/nn/cuda/steps_norm.cu
libtsrcuda_la_SOURCES += lib/nn/cuda/steps_rows.cu
cuda_deps += lib/nn/cuda/$(DEPDIR)/steps_attend.cu.d \
	lib/nn/cuda/$(DEPDIR)/steps_conv.cu.d lib/nn/cuda/$(DEPDIR)/steps_io.cu.d \
	lib/nn/cuda/$(DEPDIR)/steps_norm.cu.d lib/nn/cuda/$(DEPDIR)/steps_rows.cu.d
endif
endif
if !TSR_CUDNN
libtsrcore_la_SOURCES += lib/nn/cuda/nn_nocuda.c
endif
libtsrcore_la_SOURCES += lib/nn/seq_device.c lib/nn/seq_device_steps.c
noinst_HEADERS += lib/nn/seq_device.h
# Integer convolutions on the GPU.
noinst_HEADERS += lib/nn/cuda/iconv.cuh lib/nn/cuda/iconv.h
if TSR_CUDA
libtsrcuda_la_SOURCES += lib/nn/cuda/iconv_cuda.c
endif

# On a GPU by kernels of our own.
noinst_HEADERS += lib/nn/plane_device.h lib/nn/cuda/plane_cuda.h \
	lib/nn/cuda/plane_kernels.h
noinst_HEADERS += lib/nn/cuda/seq_cuda.h lib/nn/cuda/seq_inside.h \
	lib/nn/cuda/seq_conv.cuh lib/nn/cuda/multiply.cuh \
	lib/nn/cuda/seq_kernels.h \
	lib/nn/cuda/seq_lstm.cuh \
	lib/nn/cuda/seq_numbers.cuh \
	lib/nn/cuda/seq_ptx.cuh
if TSR_CUDA
libtsrcuda_la_SOURCES += lib/nn/cuda/seq_cuda.c \
	lib/nn/cuda/seq_pack_cuda.c lib/nn/cuda/seq_conv.cu \
	lib/nn/cuda/seq_conv_half.cu lib/nn/cuda/seq_conv_odd.cu \
	lib/nn/cuda/seq_lstm.cu lib/nn/cuda/seq_lstm_half.cu \
	lib/nn/cuda/seq_rows.cu
libtsrcuda_la_SOURCES += lib/nn/cuda/plane_cuda.c lib/nn/cuda/plane.cu
cuda_deps += lib/nn/cuda/$(DEPDIR)/plane.cu.d
cuda_deps += lib/nn/cuda/$(DEPDIR)/seq_conv.cu.d \
	lib/nn/cuda/$(DEPDIR)/seq_conv_half.cu.d \
	lib/nn/cuda/$(DEPDIR)/seq_conv_odd.cu.d \
	lib/nn/cuda/$(DEPDIR)/seq_lstm.cu.d \
	lib/nn/cuda/$(DEPDIR)/seq_lstm_half.cu.d lib/nn/cuda/$(DEPDIR)/seq_rows.cu.d
else
libtsrcore_la_SOURCES += lib/nn/cuda/seq_nocuda.c
endif
