/* Signed and unsigned arithmetic of all widths, loads that extend the sign, byte order, and branches on 32 bits. */
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long i64;
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

u64 extend(const i8 *bytes) {
    const i16 *halves = (const i16 *)bytes;
    const i32 *words = (const i32 *)bytes;
    return (u64)((i64)bytes[0] + (i64)halves[1] * 3 + (i64)words[1] * 5);
}

u64 narrow(u64 x) { return (u64)((i64)(i8)x + (i64)(i16)x + (i64)(i32)x); }

u64 divide(u32 a, u32 b) { return (u64)a / 7 + a / b + a % b; }

u64 swap(u64 x) { return __builtin_bswap64(x) ^ __builtin_bswap32((u32)x) ^ __builtin_bswap16((unsigned short)x); }

u64 compare(i32 a, i32 b) {
    u64 found = 0;
    for (i32 i = a; i < b; i++)
        found = found * 3 + (u64)(i < 0 ? 1 : 2) + ((u32)i > 5u);
    return found;
}

#if __BPF_CPU_VERSION__ >= 4 || defined(SIGNED_DIVISION)
u64 signed_division(i64 a, i64 b) { return (u64)(a / b * 100 + a % b); }
#endif

u64 gather(u8 *bytes, u64 count) {
    u8 sum = 0;
    for (u64 i = 0; i < count; i++) {
        sum += bytes[i];
        bytes[i] = (u8)~bytes[i];
    }
    return sum;
}
