/* A chain of multiplications, additions and exclusive ors, each of which waits for the one before it. */
#include <stdint.h>

#define STEPS 4096

uint64_t run(uint64_t repetitions)
{
    uint64_t x = 1;
    for (uint64_t step = 0; step < repetitions * STEPS; step++) {
        x = x * 0x9E3779B97F4A7C15u + step;
        x ^= x >> 29;
    }
    return x;
}
