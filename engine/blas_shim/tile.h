/* The inner loops of rows.c, for vectors of LANES floats; included once for each kind of
 * processor, with TARGET (a function attribute) and NAME(function). */

typedef float NAME(vector) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

TARGET static inline NAME(vector) NAME(load)(const float *from) {
    return *(const NAME(vector) *)from;
}

TARGET static inline float NAME(sum)(NAME(vector) v) {
    float parts[LANES];
    *(NAME(vector) *)parts = v;
    for (int half = LANES / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            parts[i] += parts[i + half];
        }
    }
    return parts[0];
}

/* Dot products of `rows` rows of a with `columns` rows of b, each read once. */
TARGET static inline __attribute__((always_inline)) void
NAME(dots)(const rows_product *p, int row, int column, const int rows, const int columns) {
    NAME(vector) sums[TILE_ROWS][TILE_COLUMNS] = {0};
    const float *a = p->a + (size_t)row * p->lda, *b = p->b + (size_t)column * p->ldb;
    int at = 0;
    for (; at + LANES <= p->k; at += LANES) {
        NAME(vector) right[TILE_COLUMNS];
        for (int j = 0; j < columns; j++) {
            const float *from = b + (size_t)j * p->ldb + at;
            __builtin_prefetch(from + (size_t)columns * p->ldb); /* of the next tile */
            right[j] = NAME(load)(from);
        }
        for (int i = 0; i < rows; i++) {
            NAME(vector) left = NAME(load)(a + (size_t)i * p->lda + at);
            for (int j = 0; j < columns; j++) {
                sums[i][j] += left * right[j];
            }
        }
    }
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            float sum = NAME(sum)(sums[i][j]);
            for (int rest = at; rest < p->k; rest++) {
                sum += a[(size_t)i * p->lda + rest] * b[(size_t)j * p->ldb + rest];
            }
            float *c = p->c + (size_t)(row + i) * p->ldc + column + j;
            *c = p->alpha * sum + (p->beta == 0 ? 0 : p->beta * *c);
        }
    }
}

/* `rows` rows of a times LANES columns of b. */
TARGET static inline __attribute__((always_inline)) void
NAME(sums)(const rows_product *p, int row, int column, const int rows) {
    NAME(vector) sums[TILE_ROWS] = {0};
    const float *a = p->a + (size_t)row * p->lda, *b = p->b + column;
    for (int at = 0; at < p->k; at++) {
        NAME(vector) right = NAME(load)(b + (size_t)at * p->ldb);
        for (int i = 0; i < rows; i++) {
            sums[i] += a[(size_t)i * p->lda + at] * right;
        }
    }
    for (int i = 0; i < rows; i++) {
        float *c = p->c + (size_t)(row + i) * p->ldc + column;
        NAME(vector) sum = p->alpha * sums[i];
        if (p->beta != 0) {
            sum += p->beta * NAME(load)(c);
        }
        *(NAME(vector) *)c = sum;
    }
}

TARGET static void NAME(row_columns)(const rows_product *p, int row, int rows, int j, int count) {
#define TILE(r)                                                                                    \
    case r:                                                                                        \
        if (!p->b_transposed) {                                                                    \
            NAME(sums)(p, row, j, r);                                                              \
        } else if (count == TILE_COLUMNS) {                                                        \
            NAME(dots)(p, row, j, r, TILE_COLUMNS);                                                \
        } else {                                                                                   \
            NAME(dots)(p, row, j, r, 1);                                                           \
        }                                                                                          \
        break;
    switch (rows) {
        TILE(1)
        TILE(2)
        TILE(3)
    default:
        TILE(TILE_ROWS)
    }
#undef TILE
}

/* Columns first to last of c: a group of b's at a time, which stays in the cache for all rows. */
TARGET static void NAME(columns)(const rows_product *p, int first, int last) {
    const int step = p->b_transposed ? TILE_COLUMNS : LANES;
    for (int j = first; j < last;) {
        int count = last - j >= step ? step : 1;
        for (int row = 0; row < p->m; row += TILE_ROWS) {
            int rows = p->m - row < TILE_ROWS ? p->m - row : TILE_ROWS;
            if (p->b_transposed || count == step) {
                NAME(row_columns)(p, row, rows, j, count);
            } else {
                one_column(p, row, rows, j);
            }
        }
        j += count;
    }
}
