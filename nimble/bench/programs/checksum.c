/* The Internet checksum of a block of memory.

   Ref: RFC 1071, section 2: sums of wider words are folded to 16 bits at the end. */
#include <stdint.h>

static uint64_t checksum(const uint32_t *data, uint64_t words, uint64_t start)
{
    uint64_t total = start;
    for (uint64_t index = 0; index < words; index++)
        total += data[index];
    while (total >> 16)
        total = (total & 0xFFFF) + (total >> 16);
    return total ^ 0xFFFF;
}

/* The checksum of so many words, where each repetition starts with what the one before it gave. */
uint64_t run(uint64_t repetitions, const uint32_t *data, uint64_t words)
{
    uint64_t total = 0;
    for (uint64_t repetition = 0; repetition < repetitions; repetition++)
        total = checksum(data, words, total);
    return total;
}
