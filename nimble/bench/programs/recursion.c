/* Fibonacci numbers by their definition: almost nothing but calls, as deep as an extension has frames. */
#include <stdint.h>

#define CALLS 40 /* of fib, per repetition: fib(6) is 25 calls in all, fib(7) 41 */

/* Not inlined, as in the other source: calls are what is to be measured. */
__attribute__((noinline)) static uint64_t fib(uint64_t n)
{
    if (n < 2)
        return n;
    return fib(n - 1) + fib(n - 2);
}

/* A sum of Fibonacci numbers: of 6 and 7 in turns, so that no call can be taken out of the loop. */
uint64_t run(uint64_t repetitions)
{
    uint64_t total = 0;
    for (uint64_t call = 0; call < repetitions * CALLS; call++)
        total += fib(6 + (call & 1));
    return total;
}
