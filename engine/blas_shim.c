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
 */

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
        scipy_##name(                                                                              \
            order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);        \
    }

FORWARD_GEMM(cblas_sgemm, float)
FORWARD_GEMM(cblas_dgemm, double)
FORWARD_GEMM(cblas_cgemm, const void *)
