# SPDX-License-Identifier: BSD-2-Clause
# TSR_CHECK_CUDA
# --------------
# --with-cuda=auto|yes|no|PREFIX.  Sets tsr_have_cuda, tsr_cuda_why and the
# output variables NVCC, NVCCFLAGS, CUDA_CPPFLAGS, CUDA_LIBS, CUDA_ARCHS.
#   auto  use CUDA if nvcc can build one kernel, else go on without (default)
#   yes   the same, but failure is an error
#   PREFIX  as yes, with nvcc in PREFIX/bin
# Nothing is run on a device: a build machine needs no GPU.
AC_DEFUN([TSR_CHECK_CUDA], [
AC_ARG_WITH([cuda],
    [AS_HELP_STRING([--with-cuda@<:@=auto|yes|no|PREFIX@:>@],
        [build the CUDA kernels @<:@auto@:>@])],
    [], [with_cuda=auto])
AC_ARG_VAR([NVCC], [CUDA compiler])
AC_ARG_VAR([NVCCFLAGS], [flags for the CUDA compiler])
AC_ARG_VAR([CUDA_ARCHS], [GPU targets, e.g. "80 90"; the last one also as PTX])

tsr_have_cuda=no
tsr_cuda_why="switched off"
AS_IF([test "x$with_cuda" != xno], [
  AS_CASE([$with_cuda],
    [auto|yes], [tsr_cuda_path="$PATH:/usr/local/cuda/bin"],
    [tsr_cuda_path="$with_cuda/bin"])
  AC_PATH_PROG([NVCC], [nvcc], [], [$tsr_cuda_path])
  tsr_cuda_why="no nvcc"
  AS_IF([test "x$NVCC" != x], [
    tsr_cuda_home=`dirname "$NVCC"`/..
    tsr_cuda_home=`cd "$tsr_cuda_home" && pwd -P`
    : ${CUDA_ARCHS="80 90"}
    : ${NVCCFLAGS="-O3"}
    tsr_gencode=
    tsr_last=
    for tsr_arch in $CUDA_ARCHS; do
      tsr_gencode="$tsr_gencode -gencode=arch=compute_$tsr_arch,code=sm_$tsr_arch"
      tsr_last=$tsr_arch
    done
    tsr_gencode="$tsr_gencode -gencode=arch=compute_$tsr_last,code=compute_$tsr_last"
    AC_SUBST([CUDA_GENCODE], [$tsr_gencode])
    # The directory with libcudart differs between toolkits.
    for tsr_dir in "$tsr_cuda_home/lib64" "$tsr_cuda_home/lib" \
        "$tsr_cuda_home/targets/$host_cpu-linux/lib"; do
      AS_IF([test -f "$tsr_dir/libcudart_static.a"],
        [tsr_cuda_libdir=$tsr_dir; break])
    done
    tsr_cuda_why="libcudart_static.a not found"
    AS_IF([test "x$tsr_cuda_libdir" != x], [
      AC_SUBST([CUDA_LIBS],
        ["-L$tsr_cuda_libdir -lcudart_static -lstdc++ -ldl -lrt -lpthread"])
      AC_SUBST([CUDA_CPPFLAGS], ["-I$tsr_cuda_home/include"])
      AC_MSG_CHECKING([whether $NVCC builds a kernel])
      cat > conftest.cu <<_TSREOF
extern "C" __global__ void k(float *x) { x[[threadIdx.x]] += 1.0f; }
_TSREOF
      AS_IF([$NVCC $NVCCFLAGS $tsr_gencode -ccbin "$CC" -c conftest.cu -o conftest.o >&AS_MESSAGE_LOG_FD 2>&1],
        [tsr_have_cuda=yes; tsr_cuda_why="$NVCC, targets $CUDA_ARCHS"],
        [tsr_cuda_why="$NVCC failed, see config.log"])
      rm -f conftest.cu conftest.o
      AC_MSG_RESULT([$tsr_have_cuda])
    ])
  ])
])
AS_IF([test "x$tsr_have_cuda" = xno],
  [AS_CASE([$with_cuda], [auto|no], [],
    [AC_MSG_ERROR([--with-cuda=$with_cuda was given, but: $tsr_cuda_why])])])
# cuDNN 9: its header only, the library is opened at run time.
tsr_have_cudnn=no
AS_IF([test "x$tsr_have_cuda" = xyes], [
  tsr_saved_CPPFLAGS=$CPPFLAGS
  CPPFLAGS="$CPPFLAGS $CUDA_CPPFLAGS"
  AC_PREPROC_IFELSE([AC_LANG_SOURCE([[#include <cudnn_version.h>
#if CUDNN_MAJOR != 9
#error not cuDNN 9
#endif]])], [tsr_have_cudnn=yes])
  CPPFLAGS=$tsr_saved_CPPFLAGS
])
AS_IF([test "x$tsr_have_cuda" = xyes],
  [AC_DEFINE([TSR_HAVE_CUDA], [1], [Define to 1 if the CUDA kernels are built.])],
  [CUDA_LIBS=; CUDA_CPPFLAGS=])
])
