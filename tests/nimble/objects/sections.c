/* Functions in three sections, calls across them, state in .data, .rodata and .bss, and pointers into the state. */
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long u64;

u64 wake(u64 process); /* a service */

u64 counter = 5;
static volatile u32 table[4] = {10, 20, 30, 40};
static const volatile u32 primes[4] = {7, 11, 13, 17};
u64 last;
static u64 recent[3];
u64 *cursor = &recent[2];
const volatile u32 *const second_prime = &primes[1];
char _license[] SEC("license") = "BSD";

static __attribute__((noinline)) u64 triple(u64 x) { return x * 3; }

SEC("event/in") u64 event(u64 x) {
    counter += 1;
    return triple(x) + counter;
}

__attribute__((noinline, section("helpers"))) u64 note(u64 x) {
    *cursor = x;
    last = recent[2] + 1;
    return last;
}

/* i = 0..3: table[i] * 3 + 6, noted, plus 1, plus primes[i], plus the second prime, plus what wake says of i. */
u64 start(u64 i) {
    u64 found = note(event(table[i & 3]));
    found += primes[i & 3];
    found += *second_prime;
    return found + wake(i);
}
