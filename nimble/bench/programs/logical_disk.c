/* A logical disk: every write goes to the next physical block, so that random writes become sequential.

   Ref: Small & Seltzer, "A Comparison of OS Extension Technologies", USENIX 1996, section 4 (logical disk): 80 % of the
   accesses go to 20 % of the blocks. */
#include <stdint.h>

#define REQUESTS 1024
#define FOUR_FIFTHS 0xCCCCCCCCu /* of 2**32 */

/* Marsaglia's xorshift (Journal of Statistical Software 8, 2003), of 64 bits. */
static uint64_t following(uint64_t random)
{
    random ^= random << 13;
    random ^= random >> 7;
    return random ^ random << 17;
}

/* A block: four times of five, one of the first fifth. */
static uint64_t logical(uint64_t random, uint64_t size)
{
    uint64_t part = (random & 0xFFFFFFFF) < FOUR_FIFTHS ? size / 5 : size;
    return (random >> 32) * part >> 32;
}

/* 1024 writes and as many reads per repetition; a sum of the physical blocks that were read. */
uint64_t run(uint64_t repetitions, uint32_t *blocks, uint64_t size)
{
    uint64_t random = 88172645463325252u;
    uint64_t total = 0;
    for (uint64_t physical = 1; physical <= repetitions * REQUESTS; physical++) {
        random = following(random);
        blocks[logical(random, size)] = (uint32_t)physical;
        random = following(random);
        total += blocks[logical(random, size)];
    }
    return total;
}
