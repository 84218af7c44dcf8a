/* Prime numbers by Eratosthenes' sieve, odd numbers only: byte i stands for 2 i + 3. */
#include <stdint.h>

static uint64_t sieve(uint8_t *composite, uint64_t size)
{
    for (uint64_t index = 0; index < size; index++)
        composite[index] = 0;
    uint64_t primes = 0;
    for (uint64_t index = 0; index < size; index++) {
        if (composite[index] == 0) {
            uint64_t prime = 2 * index + 3;
            uint64_t multiple = index + prime;
            while (multiple < size) {
                composite[multiple] = 1;
                multiple += prime;
            }
            primes += 1;
        }
    }
    return primes;
}

/* The sum over all repetitions of how many primes there are. */
uint64_t run(uint64_t repetitions, uint8_t *composite, uint64_t size)
{
    uint64_t found = 0;
    for (uint64_t repetition = 0; repetition < repetitions; repetition++)
        found += sieve(composite, size);
    return found;
}
