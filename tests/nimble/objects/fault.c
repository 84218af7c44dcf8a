/* Reads an address that nothing is at, in a function of another section, so that the fault names its line. */
typedef unsigned long u64;

__attribute__((noinline, section("reader"))) u64 read(const u64 *at) {
    u64 first = at[0]; /* line 5 */
    return first + 1;
}

u64 start(const u64 *at) {
    return read(at) * 2; /* line 10 */
}
