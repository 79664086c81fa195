#define _GNU_SOURCE
#include "rows.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

/*
 * OpenBLAS's general product copies the matrix into an order that pays when many rows use it. For
 * the few rows of a decode step the copy is most of the time: here the matrix is read once, as it
 * lies, at the memory's speed.
 */

/* Sums of a tile: with what they are made of they fill 32 registers, or with a half 16. */
#define TILE_ROWS 4
/* Beyond these a general product is faster: measured beside OpenBLAS's own AVX-512 and AVX2
 * kernels. Plain vectors won up to 32 rows on x86-64 (SSE); on ARM, where OpenBLAS does better,
 * they were not measured. */
#define MOST_ROWS_AVX512 32
#define MOST_ROWS 16
/* Dot products of fewer terms take longer to sum up than they are worth, unless rows are few. */
#define LONG 256
/* Columns that a thread takes at a time, and elements of the matrix that pay for waking one. */
#define CHUNK 64
#define THREADED (1 << 16)
#define MOST_THREADS 16
/* Looks for work before a thread sleeps: about as long as what lies between two products. */
#define LOOKS 400

static void one_column(const rows_product *p, int row, int rows, int column) {
    for (int i = row; i < row + rows; i++) {
        float sum = 0;
        for (int at = 0; at < p->k; at++) {
            sum += p->a[(size_t)i * p->lda + at] * p->b[(size_t)at * p->ldb + column];
        }
        float *c = p->c + (size_t)i * p->ldc + column;
        *c = p->alpha * sum + (p->beta == 0 ? 0 : p->beta * *c);
    }
}

#define TARGET
#define LANES 4
#define TILE_COLUMNS 2
#define NAME(function) plain_##function
#include "tile.h"
#undef TARGET
#undef LANES
#undef TILE_COLUMNS
#undef NAME

#ifdef __x86_64__
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define TILE_COLUMNS 2
#define NAME(function) avx2_##function
#include "tile.h"
#undef TARGET
#undef LANES
#undef TILE_COLUMNS
#undef NAME

#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define TILE_COLUMNS 4
#define NAME(function) avx512_##function
#include "tile.h"
#endif

typedef void columns_function(const rows_product *, int, int);

typedef struct {
    columns_function *columns;
    int most_rows;
} vectors;

static vectors of_processor(void) {
#if defined(ROWS_COLUMNS) /* the tests try them all */
    return (vectors){ROWS_COLUMNS, MOST_ROWS};
#elif defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        return (vectors){avx512_columns, MOST_ROWS_AVX512};
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return (vectors){avx2_columns, MOST_ROWS};
    }
#endif
    return (vectors){plain_columns, MOST_ROWS};
}

static vectors chosen;
static pthread_once_t choice = PTHREAD_ONCE_INIT;

static void choose(void) {
    chosen = of_processor();
}

bool rows_fit(int m, int k, bool b_transposed) {
    pthread_once(&choice, choose);
    return m <= (b_transposed && k < LONG ? TILE_ROWS : chosen.most_rows);
}

/* ---- The threads. One product at a time is shared; who comes meanwhile computes alone. */

static struct {
    atomic_flag taken;
    const rows_product *product;
    atomic_int next;            /* the first column that nobody has taken */
    atomic_uint number, opened; /* the last product's; the same while it can be joined, else 0 */
    atomic_int inside, sleeping;
    int threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
} pool = {
    .taken = ATOMIC_FLAG_INIT,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER};

static void take_part(void) {
    const rows_product *p = pool.product;
    for (int first; (first = atomic_fetch_add(&pool.next, CHUNK)) < p->n;) {
        chosen.columns(p, first, first + CHUNK < p->n ? first + CHUNK : p->n);
    }
}

static void wait_for_another(unsigned seen) {
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load(&pool.number) != seen) {
            return;
        }
        sched_yield();
    }
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.number) == seen) {
        pthread_cond_wait(&pool.changed, &pool.lock);
    }
    atomic_fetch_sub(&pool.sleeping, 1);
    pthread_mutex_unlock(&pool.lock);
}

static void *helper(void *unused) {
    unsigned seen = 0;
    for (;;) {
        wait_for_another(seen);
        seen = atomic_load(&pool.number);
        atomic_fetch_add(&pool.inside, 1);
        if (atomic_load(&pool.opened) == seen) {
            take_part();
        }
        atomic_fetch_sub(&pool.inside, 1);
    }
    return unused;
}

/* Starts what is missing; without threads the caller computes alone. */
static void start(int threads) {
    sigset_t all, before;
    sigfillset(&all); /* the host's signals are not for them */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.threads < threads) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, helper, NULL) != 0) {
            break;
        }
        pthread_detach(thread);
        pool.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void share(const rows_product *product) {
    pool.product = product;
    atomic_store(&pool.next, 0);
    unsigned number = atomic_load(&pool.number) + 1;
    if (number == 0) {
        number = 1;
    }
    atomic_store(&pool.opened, number);
    atomic_store(&pool.number, number);
    if (atomic_load(&pool.sleeping) > 0) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.changed);
        pthread_mutex_unlock(&pool.lock);
    }
    take_part();
    atomic_store(&pool.opened, 0);
    while (atomic_load(&pool.inside) > 0) {
        sched_yield();
    }
}

void rows_compute(const rows_product *product, int threads) {
    pthread_once(&choice, choose);
    threads = threads < MOST_THREADS ? threads : MOST_THREADS;
    bool large = (size_t)product->n * (size_t)product->k >= THREADED && product->n > CHUNK;
    if (threads < 2 || !large || atomic_flag_test_and_set(&pool.taken)) {
        chosen.columns(product, 0, product->n);
        return;
    }
    start(threads - 1);
    share(product);
    atomic_flag_clear(&pool.taken);
}

void rows_forked(void) {
    pool.threads = 0;
    atomic_store(&pool.inside, 0);
    atomic_store(&pool.sleeping, 0);
    atomic_flag_clear(&pool.taken);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.changed, NULL);
}
