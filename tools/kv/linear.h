/* SPDX-License-Identifier: BSD-2-Clause */
/* Linear algebra of calibration, by BLAS and LAPACK.  Matrices are row by row;
 * symmetric ones are full. */
#ifndef TOOLS_KV_LINEAR_H
#define TOOLS_KV_LINEAR_H
#include <stddef.h>

/** sum[n][m] += x^T y for x[rows][n], y[rows][m]; `work` holds n * m floats. */
void linear_cross(const float *x, int n, const float *y, int m, size_t rows,
                  double *sum, float *work);

/** z[rows][m] = x[rows][n] a[n][m], or where `add` z += factor of it. */
void linear_product(const float *x, size_t rows, int n, const float *a, int m,
                    float factor, int add, float *z);

/** c[n][m] = a[n][k] b[k][m], or a^T b for a[k][n] where turn is set. */
void linear_multiply(const double *a, const double *b, int n, int k, int m,
                     int turn, double *c);

/** Eigenvectors of a symmetric a[n][n] become its rows, values rising.  0 when
 *  it worked. */
int linear_eigen(double *a, int n, double *values);

/** Solves a x = b for positive definite a[n][n] and b[n][m], in place.  0 when
 *  it worked. */
int linear_solve(double *a, int n, double *b, int m);
#endif
