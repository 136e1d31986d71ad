/* Winograd's F(4 x 4, 3 x 3) convolution of parts of images, and its gradients.
 *
 * The algorithm is described in winograd.py, which calls this through ctypes where it was compiled,
 * and does the same with PyTorch's operators where it was not. A block of tiles goes through all
 * steps at once, few enough to stay in the processor's cache. Everything is float32.
 *
 * Parts go to OpenMP's threads, which are PyTorch's: others would wait for these to stop spinning.
 *
 * The kernels are compiled once for each width of vector instructions; the caller chooses.
 */
#include <stdlib.h>
#include <string.h>

/* tiles of a block */
#define BLOCK 24
/* numbers of a tile and channel, along one axis */
#define NUMBERS 6
/* the most values of a window along one axis, and of one after the first of two products */
#define SPAN 10
#define TABLE 36
/* buffers have a whole number of these channels */
#define PAD 16
#define PADDED(channels) (((channels) + PAD - 1) / PAD * PAD)
/* Floats between two numbers of a buffer. The odd 16 keep them from the same lines of the cache. */
#define STRIDE(channels) (BLOCK * PADDED(channels) + PAD)

/* A map as overlapping windows, one a tile, and the matrices between a window and its numbers. */
typedef struct {
    float *data;        /* (h, w, c); NULL if not wanted */
    float *above;       /* (-offset, w, c): what is added to the rows before `first`, another part's */
    float *below;       /* (-offset, w, c): the same for the rows from `end` on */
    const float *axis;  /* (4, numbers, span), by (first tile of the axis) + 2 (last tile) */
    long h, w, c;
    long step, offset;  /* window t starts at step * t + offset */
    long span, numbers; /* values of a window and numbers, along one axis */
    long repeat;        /* beyond its edges the map is: 0 zero, 1 what it is at the edge */
    long first, end;    /* rows of this part */
} Windows;

typedef struct {
    Windows values, gradient;
    const float *weight;      /* (36, PADDED(c_out) / PAD, c, PAD) */
    const float *transposed;  /* (36, PADDED(c) / PAD, c_out, PAD) */
    float *weight_gradient;   /* (36, c, PADDED(c_out)), added to; NULL if not wanted */
} Map;

/* A map that is interpolated by 4: its value at a tile times each of the kernel's 9 taps. */
typedef struct {
    Windows windows;    /* of the output, or of its gradient */
    float *products;    /* (rows * columns, 9, c_out) */
} Taps;

typedef struct {
    long rows, columns;  /* tiles of the image */
    long first, end;     /* rows of tiles of this part */
    long count;
    const Map *maps;
    long taps_count;
    const Taps *taps;
    Windows output;      /* the result, or its gradient */
    const float *rectified;  /* as the output: the result if it was rectified, to tell where; NULL */
    const float *bias;   /* (c_out,) */
    float *bias_gradient; /* (c_out,), added to; NULL if not wanted */
} Part;

/* What the caller has to agree on. The first number changes when a meaning does. */
const long interface[] = {2, PAD, sizeof(Windows), sizeof(Map), sizeof(Taps), sizeof(Part)};

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 12")

/* Addresses of a window's values; `outside` stands for those beyond the map. */
INLINE void addresses(const Windows *g, float *data, const int span, long tile, long columns,
                      float *outside, float **p)
{
    long ty = tile / columns, tx = tile % columns, line = g->w * g->c;
    for (long k = 0; k < span; k++) {
        long y = g->step * ty + g->offset + k;
        int beyond = y < 0 || y >= g->h;
        if (beyond && g->repeat)
            y = y < 0 ? 0 : g->h - 1, beyond = 0;
        float *row = data + y * line;
        if (y < g->first)
            row = g->above + (y - g->first - g->offset) * line;
        else if (y >= g->end)
            row = g->below + (y - g->end) * line;
        for (long j = 0; j < span; j++) {
            long x = g->step * tx + g->offset + j;
            int off = x < 0 || x >= g->w;
            if (off && g->repeat)
                x = x < 0 ? 0 : g->w - 1, off = 0;
            p[k * span + j] = beyond || off ? outside : row + x * g->c;
        }
    }
}

INLINE const float *matrix(const Windows *g, long i, long n)
{
    return g->axis + ((i == 0) + 2 * (i == n - 1)) * g->numbers * g->span;
}

/* Zero the rows of a gradient that tiles start to start + n are the first of the part to reach. */
INLINE void clear(const Part *part, const Windows *g, long start, long n)
{
    long before = start / part->columns + (start % part->columns != 0);  /* rows of tiles begun */
    long after = (start + n - 1) / part->columns + 1;
    long from = before == part->first ? g->first : g->step * (before - 1) + g->offset + g->span;
    long to = after == part->end ? g->end : g->step * (after - 1) + g->offset + g->span;
    from = from < g->end ? from : g->end, to = to < g->end ? to : g->end;
    if (to > from)
        memset(g->data + from * g->w * g->c, 0, (to - from) * g->w * g->c * sizeof(float));
}

/* Room for the numbers of a block of one map and of the output, and for a value outside of a map,
 * in one piece that begins with the first; 0 if there is no memory. */
static int buffers(const Part *part, float **numbers, float **products, float **outside)
{
    long c_out = part->output.c, wide = 0;
    for (long i = 0; i < part->count; i++)
        if (part->maps[i].values.c > wide)
            wide = part->maps[i].values.c;
    long size = 36 * (STRIDE(wide) + STRIDE(c_out)) + (wide > c_out ? wide : c_out);
    *numbers = calloc(size, sizeof(float));
    *products = *numbers + 36 * STRIDE(wide);
    *outside = *products + 36 * STRIDE(c_out);
    return *numbers != NULL;
}

/* One name for each combination of a function, a set of instructions and a width. */
#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)

#if defined(__x86_64__)
#define SET avx512
#define LANES 16
#define ROWS 12
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#include "winograd_kernels.h"
#define SET avx2
#define LANES 8
#define ROWS 6
#define TARGET __attribute__((target("avx2,fma")))
#include "winograd_kernels.h"
#endif
#define SET any
#define LANES 4
#ifdef __aarch64__  /* which has 32 registers for vectors */
#define ROWS 6
#else
#define ROWS 3
#endif
#define TARGET
#include "winograd_kernels.h"
