/* Prime numbers by trial division. */
#include <stdbool.h>
#include <stdint.h>

#define NUMBERS 1000

static bool is_prime(uint64_t number)
{
    uint64_t divisor = 2;
    while (divisor * divisor <= number) {
        if (number % divisor == 0)
            return false;
        divisor += 1;
    }
    return true;
}

static uint64_t primes_below(uint64_t limit)
{
    uint64_t found = 0;
    for (uint64_t number = 2; number < limit; number++)
        if (is_prime(number))
            found += 1;
    return found;
}

/* A sum of how many primes there are below 1000 or, in turns, 1001. */
uint64_t run(uint64_t repetitions)
{
    uint64_t found = 0;
    for (uint64_t repetition = 0; repetition < repetitions; repetition++)
        found += primes_below(NUMBERS + (repetition & 1));
    return found;
}
