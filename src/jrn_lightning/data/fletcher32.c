/* The checksum that HDF5's filter of this name stores behind every chunk, called by chunks.py. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pairs are split as on little-endian processors"
#endif

/* pairs of words of a row */
#define PAIRS 4
/* rows, after which sums are folded: 65535 * (1 + ... + ROWS) fits into 32 bits */
#define ROWS 360

/* what every processor has; longer ones are kept in memory by some compilers */
typedef uint32_t Pairs __attribute__((vector_size(4 * PAIRS)));

/* Of big-endian 16-bit words w_1 ... w_n: the sum of w_i, and that of (n + 1 - i) w_i, mod 65535.
 *
 * To swap the bytes of a word is to multiply it by 256 in that arithmetic, so that words are taken
 * as little-endian. In a block, a row is added to `often` once for itself and for each row after it:
 * its word at place l counts 2 PAIRS times as often, less l.
 */
uint32_t fletcher32(const uint8_t *data, size_t size)
{
    uint64_t one = 0, two = 0;
    int any = 0;
    while (size) {
        size_t rows = size / sizeof(Pairs) < ROWS ? size / sizeof(Pairs) : ROWS;
        Pairs once[2] = {0}, often[2] = {0};
        for (size_t r = 0; r < rows; r++, data += sizeof(Pairs)) {
            Pairs pairs;
            memcpy(&pairs, data, sizeof pairs);
            once[0] += pairs & 0xffff;
            once[1] += pairs >> 16;
            often[0] += once[0];
            often[1] += once[1];
        }
        size -= rows * sizeof(Pairs);
        two += rows * 2 * PAIRS * one;
        for (int l = 0; l < 2 * PAIRS; l++) {
            uint64_t sum = once[l % 2][l / 2];
            one += sum;
            two += 2 * PAIRS * (uint64_t)often[l % 2][l / 2] - l * sum;
        }
        if (size < sizeof(Pairs)) {  /* the rest, word by word; half a word is its first byte */
            for (; size > 1; size -= 2, data += 2)
                one += data[0] | data[1] << 8, two += one;
            if (size)
                one += *data, two += one, size = 0;
        }
        any |= one != 0;
        one %= 65535, two %= 65535;
    }
    one = 256 * one % 65535, two = 256 * two % 65535;
    if (any)  /* zero is kept for words that are all zero */
        one = one ? one : 65535, two = two ? two : 65535;
    return (uint32_t)(two << 16 | one);
}
