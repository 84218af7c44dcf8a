/* Every atomic operation that compilers emit, on state. */
typedef unsigned int u32;
typedef unsigned long u64;

u64 wide = 100;
u32 narrow = 0xfffffffe;

u64 atomics(u64 x) {
    u64 found = __sync_fetch_and_add(&wide, x);              /* 100, then wide = 100 + x */
    found = found * 10 + __sync_fetch_and_or(&wide, 0x400);  /* wide |= 0x400 */
    found = found * 10 + __sync_fetch_and_and(&wide, 0x4ff); /* wide &= 0x4ff */
    found = found * 10 + __sync_fetch_and_xor(&wide, 1);     /* wide ^= 1 */
    found = found * 10 + __sync_lock_test_and_set(&wide, 9); /* wide = 9 */
    found = found * 10 + __sync_val_compare_and_swap(&wide, 9, 3);
    found = found * 10 + __sync_val_compare_and_swap(&wide, 4, 5);
    return found + wide; /* wide is 3 */
}

u64 atomics32(u32 x) {
    u64 found = __sync_fetch_and_add(&narrow, x);
    return found + narrow;
}
