/* Products of few rows with a matrix: the decode step's, on Linux CPUs. */
#ifndef ROWS_H
#define ROWS_H

#include <stdbool.h>

/* c = alpha a b + beta c, row-major: a is (m, k), c is (m, n), b is (k, n), or (n, k) when it is
 * the transpose that lies in memory. Strides in floats between rows. */
typedef struct {
    int m, n, k, lda, ldb, ldc;
    bool b_transposed;
    float alpha, beta;
    const float *a, *b;
    float *c;
} rows_product;

/* Whether `rows_compute` is faster than a general product. */
bool rows_fit(int m, int k, bool b_transposed);

/* Computes it on the calling thread and up to `threads` - 1 others. Any thread may call. */
void rows_compute(const rows_product *product, int threads);

/* In the child of a fork: its parent's threads are not there. */
void rows_forked(void);

#endif
