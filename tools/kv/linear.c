/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include "tools/kv/linear.h"

/* Fortran's names; matrices there are column by column, so ours are theirs
 * transposed. */
extern void sgemm_(const char *ta, const char *tb, const int *m, const int *n,
                   const int *k, const float *alpha, const float *a,
                   const int *lda, const float *b, const int *ldb,
                   const float *beta, float *c, const int *ldc);
extern void dgemm_(const char *ta, const char *tb, const int *m, const int *n,
                   const int *k, const double *alpha, const double *a,
                   const int *lda, const double *b, const int *ldb,
                   const double *beta, double *c, const int *ldc);
extern void dsyevd_(const char *job, const char *uplo, const int *n, double *a,
                    const int *lda, double *w, double *work, const int *lwork,
                    int *iwork, const int *liwork, int *info);
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda,
                    int *info);
extern void dtrsm_(const char *side, const char *uplo, const char *trans,
                   const char *diag, const int *m, const int *n,
                   const double *alpha, const double *a, const int *lda,
                   double *b, const int *ldb);

enum { BLOCK = 2048 };  /* rows whose sums stay in single precision */

void linear_cross(const float *x, int n, const float *y, int m, size_t rows,
                  double *sum, float *work)
{
    const float one = 1, zero = 0;
    for (size_t at = 0; at < rows; at += BLOCK) {
        const int k = rows - at < BLOCK ? (int)(rows - at) : BLOCK;
        sgemm_("N", "T", &m, &n, &k, &one, y + at * (size_t)m, &m,
               x + at * (size_t)n, &n, &zero, work, &m);
        for (size_t i = 0; i < (size_t)n * (size_t)m; i++)
            sum[i] += work[i];
    }
}

void linear_product(const float *x, size_t rows, int n, const float *a, int m,
                    float factor, int add, float *z)
{
    const float beta = add ? 1 : 0;
    for (size_t at = 0; at < rows; at += BLOCK) {
        const int k = rows - at < BLOCK ? (int)(rows - at) : BLOCK;
        sgemm_("N", "N", &m, &k, &n, &factor, a, &m, x + at * (size_t)n, &n,
               &beta, z + at * (size_t)m, &m);
    }
}

void linear_multiply(const double *a, const double *b, int n, int k, int m,
                     int turn, double *c)
{
    const double one = 1, zero = 0;
    dgemm_("N", turn ? "T" : "N", &m, &n, &k, &one, b, &m, a, turn ? &n : &k,
           &zero, c, &m);
}

int linear_eigen(double *a, int n, double *values)
{
    const int ask = -1;
    int info, whole, lwork;
    double size;

    dsyevd_("V", "U", &n, a, &n, values, &size, &ask, &whole, &ask, &info);
    if (info)
        return info;
    lwork = (int)size;
    double *work = malloc((size_t)lwork * sizeof *work);
    int *iwork = malloc((size_t)whole * sizeof *iwork);
    info = 1;
    if (work && iwork)
        dsyevd_("V", "U", &n, a, &n, values, work, &lwork, iwork, &whole, &info);
    free(work);
    free(iwork);
    return info;
}

int linear_solve(double *a, int n, double *b, int m)
{
    const double one = 1;
    int info;

    /* a = u^T u; b is their b^T, so it is divided from the right. */
    dpotrf_("U", &n, a, &n, &info);
    if (info)
        return info;
    dtrsm_("R", "U", "N", "N", &m, &n, &one, a, &n, b, &m);
    dtrsm_("R", "U", "T", "N", &m, &n, &one, a, &n, b, &m);
    return 0;
}
