/* Additions, each of which waits for the one before it: what the machine takes for the least that code can do. */
#include <stdint.h>

#define ADD __asm__ volatile("" : "+r"(total)); /* so that no two become one */ \
    total += step;
#define FOUR ADD ADD ADD ADD

uint64_t run(uint64_t additions)
{
    uint64_t total = 0;
    uint64_t step = additions;
    for (uint64_t done = 0; done < additions; done += 16) {
        FOUR FOUR FOUR FOUR
    }
    return total;
}
