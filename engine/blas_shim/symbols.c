/* Standard CBLAS names for the OpenBLAS that PyPI carries.
 *
 * MLX's CPU build for Linux (libmlx.so) is linked with the reference BLAS, whose
 * matrix products are some thirty times slower than OpenBLAS's. The wheel
 * scipy-openblas32 holds a good OpenBLAS but prefixes every symbol with
 * "scipy_". This library gives the three symbols that libmlx imports their
 * standard names and forwards them. engine/blas.py loads it RTLD_GLOBAL, before
 * libmlx, so that the dynamic linker finds these first.
 *
 * The scipy_ symbols stay undefined here on purpose: they are bound when
 * engine/blas.py loads the two libraries, one after the other. Integers are 32
 * bits wide (LP64 interface) on both sides, enumerations are passed as int and
 * matrices as void *, which is the same to the calling convention.
 *
 * Products of few rows are not forwarded but computed by rows.c: OpenBLAS is made for many.
 *
 * A fork waits until no product is being computed: OpenBLAS's own fork handler ends its
 * threads, and a product that they were computing would never be done (seen with 0.3.34).
 * The handlers here run before OpenBLAS's, because they are registered later.
 *
 * The end of the process waits so too, and lets no further product begin: OpenBLAS's destructor
 * tells its threads to end and joins them, and one that is in the middle of a product forgets
 * that it was told (0.3.26: it clears its queue when it is done), so the join would never end.
 */
#define _GNU_SOURCE /* for the kind of the lock */
#include "rows.h"

#include <pthread.h>
#include <stdlib.h>

/* Read by products, written by forks; a fork that waits goes first, else it might never. */
static pthread_rwlock_t computing = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

static void before_fork(void) {
    pthread_rwlock_wrlock(&computing);
}

static void in_parent(void) {
    pthread_rwlock_unlock(&computing);
}

static void in_child(void) {
    static const pthread_rwlock_t fresh = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
    rows_forked();
    computing = fresh; /* the owner of the lock, this thread's parent, is not here to unlock it */
}

/* Runs before the destructors of all libraries. Threads that still want products wait for ever. */
static void at_exit(void) {
    pthread_rwlock_wrlock(&computing);
}

__attribute__((constructor)) static void on_load(void) {
    pthread_atfork(before_fork, in_parent, in_child);
    atexit(at_exit);
}

#define BEGIN() pthread_rwlock_rdlock(&computing)
#define END() pthread_rwlock_unlock(&computing)

/* CBLAS's numbers for the enumerations. */
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

int scipy_openblas_get_num_threads(void);
void scipy_cblas_sgemm(
    int, int, int, int, int, int, float, const void *, int, const void *, int, float, void *, int);
__attribute__((visibility("default"))) void cblas_sgemm(
    int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const void *a,
    int lda, const void *b, int ldb, float beta, void *c, int ldc);
void cblas_sgemm(
    int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const void *a,
    int lda, const void *b, int ldb, float beta, void *c, int ldc) {
    BEGIN();
    bool transposed = transpose_b == TRANSPOSE;
    if (order == ROW_MAJOR && transpose_a == NO_TRANSPOSE && rows_fit(m, k, transposed)) {
        rows_product product = {m, n, k, lda, ldb, ldc, transposed, alpha, beta, a, b, c};
        rows_compute(&product, scipy_openblas_get_num_threads());
    } else {
        scipy_cblas_sgemm(
            order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    }
    END();
}

#define FORWARD_GEMM(name, scalar)                                                                 \
    void scipy_##name(                                                                             \
        int, int, int, int, int, int, scalar, const void *, int, const void *, int, scalar,        \
        void *, int);                                                                              \
    __attribute__((visibility("default"))) void name(                                              \
        int order, int transpose_a, int transpose_b, int m, int n, int k, scalar alpha,            \
        const void *a, int lda, const void *b, int ldb, scalar beta, void *c, int ldc);            \
    void name(                                                                                     \
        int order, int transpose_a, int transpose_b, int m, int n, int k, scalar alpha,            \
        const void *a, int lda, const void *b, int ldb, scalar beta, void *c, int ldc) {           \
        BEGIN();                                                                                   \
        scipy_##name(                                                                              \
            order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);        \
        END();                                                                                     \
    }

FORWARD_GEMM(cblas_dgemm, double)
FORWARD_GEMM(cblas_cgemm, const void *)
