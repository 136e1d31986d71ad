/* The kernels for one set of instructions: included by winograd.c, once for each.
 *
 * SET names them, LANES is the width of a vector, ROWS x PAD of a product are kept in registers,
 * TARGET is the compiler's attribute.
 */

#define COLUMNS (PAD / LANES)

typedef float JOIN(vector, SET) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float JOIN(four, SET) __attribute__((vector_size(16), aligned(4), may_alias));
typedef float JOIN(one, SET) __attribute__((vector_size(4), may_alias));

/* window -> numbers: Ly window Lx^T; numbers -> window: Ly^T numbers Lx. Where there are addresses of
 * a mask, values count where it is positive: the gradient of what was rectified. */
#define TRANSFORMS(V) \
INLINE void JOIN(spread, V)(float *const *p, float *const *mask, const int span, \
                            const int numbers, const float *ly, const float *lx, float *out, \
                            long stride, long c) \
{ \
    V t[TABLE], s[SPAN]; \
    UNROLL for (int j = 0; j < span; j++) { \
        UNROLL for (int k = 0; k < span; k++) { \
            s[k] = *(const V *)(p[k * span + j] + c); \
            if (mask) { \
                __typeof__(s[k] > 0) kept = *(const V *)(mask[k * span + j] + c) > 0; \
                s[k] = (V)((__typeof__(kept))s[k] & kept); \
            } \
        } \
        UNROLL for (int i = 0; i < numbers; i++) { \
            V sum = ly[i * span] * s[0]; \
            UNROLL for (int k = 1; k < span; k++) \
                sum += ly[i * span + k] * s[k]; \
            t[i * span + j] = sum; \
        } \
    } \
    UNROLL for (int i = 0; i < numbers; i++) \
        UNROLL for (int m = 0; m < numbers; m++) { \
            V sum = lx[m * span] * t[i * span]; \
            UNROLL for (int j = 1; j < span; j++) \
                sum += lx[m * span + j] * t[i * span + j]; \
            *(V *)(out + (i * numbers + m) * stride + c) = sum; \
        } \
} \
INLINE void JOIN(collect, V)(const float *in, long stride, const int span, const int numbers, \
                             const float *ly, const float *lx, const float *bias, \
                             float *const *p, long c) \
{ \
    V t[TABLE], s[NUMBERS]; \
    UNROLL for (int m = 0; m < numbers; m++) { \
        UNROLL for (int i = 0; i < numbers; i++) \
            s[i] = *(const V *)(in + (i * numbers + m) * stride + c); \
        UNROLL for (int k = 0; k < span; k++) { \
            V sum = ly[k] * s[0]; \
            UNROLL for (int i = 1; i < numbers; i++) \
                sum += ly[i * span + k] * s[i]; \
            t[k * numbers + m] = sum; \
        } \
    } \
    UNROLL for (int k = 0; k < span; k++) \
        UNROLL for (int j = 0; j < span; j++) { \
            V *into = (V *)(p[k * span + j] + c); \
            V sum = bias ? *(const V *)(bias + c) : *into; \
            UNROLL for (int m = 0; m < numbers; m++) \
                sum += lx[m * span + j] * t[k * numbers + m]; \
            *into = sum; \
        } \
}
TRANSFORMS(JOIN(vector, SET))
TRANSFORMS(JOIN(four, SET))
TRANSFORMS(JOIN(one, SET))
#undef TRANSFORMS

/* As many channels at a time as there are. */
#define EACH_CHANNEL(channels, CALL) \
    { \
        long c = 0; \
        for (; c + LANES <= (channels); c += LANES) \
            CALL(JOIN(vector, SET)); \
        for (; c + 4 <= (channels); c += 4) \
            CALL(JOIN(four, SET)); \
        for (; c < (channels); c++) \
            CALL(JOIN(one, SET)); \
    }

/* `n` tiles of a map from `start` on: their numbers into `out`, at `number` and `tile` floats. */
INLINE void JOIN(spread_tiles, SET)(const Part *part, const Windows *g, const float *mask,
                                    const int span, const int numbers, long start, long n,
                                    float *outside, float *out, long number, long tile)
{
    float *p[SPAN * SPAN], *q[SPAN * SPAN];
    memset(outside, 0, g->c * sizeof(float));
    for (long t = start; t < start + n; t++, out += tile) {
        const float *ly = matrix(g, t / part->columns, part->rows);
        const float *lx = matrix(g, t % part->columns, part->columns);
        addresses(g, g->data, span, t, part->columns, outside, p);
        if (mask) {
            addresses(g, (float *)mask, span, t, part->columns, outside, q);
#define CALL(V) JOIN(spread, V)(p, q, span, numbers, ly, lx, out, number, c)
            EACH_CHANNEL(g->c, CALL)
#undef CALL
        } else {
#define CALL(V) JOIN(spread, V)(p, NULL, span, numbers, ly, lx, out, number, c)
            EACH_CHANNEL(g->c, CALL)
#undef CALL
        }
    }
}

/* The transpose: added to the map; with a bias, stored with the bias added. */
INLINE void JOIN(collect_tiles, SET)(const Part *part, const float *in, long number, long tile,
                                     const Windows *g, const int span, const int numbers,
                                     long start, long n, const float *bias, float *outside)
{
    float *p[SPAN * SPAN];
    memset(outside, 0, g->c * sizeof(float));
    for (long t = start; t < start + n; t++, in += tile) {
        const float *ly = matrix(g, t / part->columns, part->rows);
        const float *lx = matrix(g, t % part->columns, part->columns);
        addresses(g, g->data, span, t, part->columns, outside, p);
#define CALL(V) JOIN(collect, V)(in, number, span, numbers, ly, lx, bias, p, c)
        EACH_CHANNEL(g->c, CALL)
#undef CALL
    }
}

/* A block of a map's or the output's windows, to and from a buffer (36, BLOCK, PADDED(c)). */
TARGET static void JOIN(spread, SET)(const Part *part, const Windows *g, const float *mask,
                                     long start, long n, float *outside, float *out)
{
    long number = STRIDE(g->c), tile = PADDED(g->c);
    if (g->span == 4)
        JOIN(spread_tiles, SET)(part, g, mask, 4, NUMBERS, start, n, outside, out, number, tile);
    else
        JOIN(spread_tiles, SET)(part, g, NULL, 6, NUMBERS, start, n, outside, out, number, tile);
}

TARGET static void JOIN(collect, SET)(const Part *part, const float *in, const Windows *g,
                                      long start, long n, const float *bias, float *outside)
{
    long number = STRIDE(g->c), tile = PADDED(g->c);
    if (bias)
        JOIN(collect_tiles, SET)(part, in, number, tile, g, 4, NUMBERS, start, n, bias, outside);
    else if (g->span == 4)
        JOIN(collect_tiles, SET)(part, in, number, tile, g, 4, NUMBERS, start, n, NULL, outside);
    else
        JOIN(collect_tiles, SET)(part, in, number, tile, g, 6, NUMBERS, start, n, NULL, outside);
}

/* The whole part of a map that is interpolated by 4: (tiles, 9, c) products of its values. */
TARGET static void JOIN(spread_taps, SET)(const Part *part, const Taps *taps, float *outside)
{
    const Windows *g = &taps->windows;
    long start = part->first * part->columns, n = part->end * part->columns - start;
    JOIN(spread_tiles, SET)(part, g, part->rectified, 10, 3, start, n, outside,
                            taps->products + start * 9 * g->c, g->c, 9 * g->c);
}

TARGET static void JOIN(collect_taps, SET)(const Part *part, const Taps *taps, float *outside)
{
    const Windows *g = &taps->windows;
    long start = part->first * part->columns, n = part->end * part->columns - start;
    JOIN(collect_tiles, SET)(part, taps->products + start * 9 * g->c, g->c, 9 * g->c, g, 10, 3,
                             start, n, NULL, outside);
}

/* c (rows, PAD) = or += a (rows, k) b (k, PAD), of these strides */
INLINE void JOIN(block, SET)(const int rows, long k, const float *a, long ai, long ak,
                             const float *b, long bk, float *c, long ci, const int add)
{
    typedef JOIN(vector, SET) V;
    V s[ROWS][COLUMNS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < COLUMNS; j++)
            s[i][j] = add ? *(const V *)(c + i * ci + j * LANES) : (V){0};
    for (long l = 0; l < k; l++, a += ak, b += bk) {
        V row[COLUMNS];
        UNROLL for (int j = 0; j < COLUMNS; j++)
            row[j] = *(const V *)(b + j * LANES);
        UNROLL for (int i = 0; i < rows; i++)
            UNROLL for (int j = 0; j < COLUMNS; j++)
                s[i][j] += a[i * ai] * row[j];
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < COLUMNS; j++)
            *(V *)(c + i * ci + j * LANES) = s[i][j];
}

/* 36 products c = or += a b: a (m, k), b (k, n) in panels (n / PAD, k, PAD), c (m, n).
 *
 * ai, ak are a's strides, bk and bj those from row to row and from panel to panel; as, bs and cs
 * lead to the next product. c is contiguous, n a multiple of PAD.
 */
TARGET static void JOIN(products, SET)(long m, long n, long k, const float *a, long ai, long ak,
                                       long as, const float *b, long bk, long bj, long bs, float *c,
                                       long cs, int add)
{
    const int rows = ROWS;
    for (int f = 0; f < 36; f++, a += as, b += bs, c += cs)
        for (long j = 0; j < n / PAD; j++) {
            const float *panel = b + j * bj;
            float *into = c + j * PAD;
            long i = 0;
            if (add)
                for (; i + rows <= m; i += rows)
                    JOIN(block, SET)(rows, k, a + i * ai, ai, ak, panel, bk, into + i * n, n, 1);
            else
                for (; i + rows <= m; i += rows)
                    JOIN(block, SET)(rows, k, a + i * ai, ai, ak, panel, bk, into + i * n, n, 0);
            for (; i < m; i++)
                if (add)
                    JOIN(block, SET)(1, k, a + i * ai, ai, ak, panel, bk, into + i * n, n, 1);
                else
                    JOIN(block, SET)(1, k, a + i * ai, ai, ak, panel, bk, into + i * n, n, 0);
        }
}

/* One part; 1 if there was no memory for it. */
static int JOIN(forward_part, SET)(const Part *part)
{
    float *numbers, *products, *outside;
    if (!buffers(part, &numbers, &products, &outside))
        return 1;
    long c_out = part->output.c, last = part->end * part->columns;
    for (long start = part->first * part->columns; start < last; start += BLOCK) {
        long n = last - start < BLOCK ? last - start : BLOCK;
        for (long i = 0; i < part->count; i++) {
            const Map *map = part->maps + i;
            long c = map->values.c;
            JOIN(spread, SET)(part, &map->values, NULL, start, n, outside, numbers);
            JOIN(products, SET)(n, PADDED(c_out), c, numbers, PADDED(c), 1, STRIDE(c), map->weight,
                                PAD, c * PAD, c * PADDED(c_out), products, STRIDE(c_out), i > 0);
        }
        JOIN(collect, SET)(part, products, &part->output, start, n, part->bias, outside);
    }
    for (long i = 0; i < part->taps_count; i++)
        JOIN(collect_taps, SET)(part, part->taps + i, outside);
    free(numbers);
    return 0;
}

static int JOIN(backward_part, SET)(const Part *part)
{
    float *numbers, *products, *outside;
    if (!buffers(part, &numbers, &products, &outside))
        return 1;
    long c_out = part->output.c, last = part->end * part->columns;
    for (long start = part->first * part->columns; start < last; start += BLOCK) {
        long n = last - start < BLOCK ? last - start : BLOCK;
        JOIN(spread, SET)(part, &part->output, part->rectified, start, n, outside, products);
        if (part->bias_gradient)  /* interpolation point 1: the sum of a tile */
            for (long t = 0; t < n; t++)
                for (long c = 0; c < c_out; c++)
                    part->bias_gradient[c] += products[7 * STRIDE(c_out) + t * PADDED(c_out) + c];
        for (long i = 0; i < part->count; i++) {
            const Map *map = part->maps + i;
            long c = map->values.c;
            if (map->weight_gradient) {
                JOIN(spread, SET)(part, &map->values, NULL, start, n, outside, numbers);
                JOIN(products, SET)(c, PADDED(c_out), n, numbers, 1, PADDED(c), STRIDE(c), products,
                                    PADDED(c_out), PAD, STRIDE(c_out), map->weight_gradient,
                                    c * PADDED(c_out), 1);
            }
            if (map->gradient.data) {
                clear(part, &map->gradient, start, n);
                JOIN(products, SET)(n, PADDED(c), c_out, products, PADDED(c_out), 1, STRIDE(c_out),
                                    map->transposed, PAD, c_out * PAD, c_out * PADDED(c), numbers,
                                    STRIDE(c), 0);
                JOIN(collect, SET)(part, numbers, &map->gradient, start, n, NULL, outside);
            }
        }
    }
    for (long i = 0; i < part->taps_count; i++)
        JOIN(spread_taps, SET)(part, part->taps + i, outside);
    free(numbers);
    return 0;
}

/* All parts; not 0 if there was no memory for one. */
int JOIN(run, SET)(const Part *parts, long count, int threads, int backward)
{
    int failed = 0;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) reduction(| : failed)
    for (long i = 0; i < count; i++)
        failed |= (backward ? JOIN(backward_part, SET) : JOIN(forward_part, SET))(parts + i);
    return failed;
}

#undef EACH_CHANNEL
#undef COLUMNS
#undef SET
#undef LANES
#undef ROWS
#undef TARGET
