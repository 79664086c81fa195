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
 * bits wide (LP64 interface) on both sides.
 */

enum cblas_order { ORDER_UNUSED_ };
enum cblas_transpose { TRANSPOSE_UNUSED_ };

#define EXPORT __attribute__((visibility("default")))

#define FORWARD_GEMM(letter, scalar, pointer)                                                     \
    void scipy_cblas_##letter##gemm(                                                              \
        enum cblas_order, enum cblas_transpose, enum cblas_transpose, int, int, int, scalar,      \
        const pointer *, int, const pointer *, int, scalar, pointer *, int);                      \
    EXPORT void cblas_##letter##gemm(                                                             \
        enum cblas_order order, enum cblas_transpose transpose_a,                                 \
        enum cblas_transpose transpose_b, int m, int n, int k, scalar alpha, const pointer *a,    \
        int lda, const pointer *b, int ldb, scalar beta, pointer *c, int ldc);                    \
    void cblas_##letter##gemm(                                                                    \
        enum cblas_order order, enum cblas_transpose transpose_a,                                 \
        enum cblas_transpose transpose_b, int m, int n, int k, scalar alpha, const pointer *a,    \
        int lda, const pointer *b, int ldb, scalar beta, pointer *c, int ldc)                     \
    {                                                                                             \
        scipy_cblas_##letter##gemm(                                                               \
            order, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);       \
    }

FORWARD_GEMM(s, float, float)
FORWARD_GEMM(d, double, double)
FORWARD_GEMM(c, const void *, void)
