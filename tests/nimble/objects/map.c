/* An array map, which the program indexes, beside a variable in the same section. */
#define SEC(name) __attribute__((section(name), used))
typedef unsigned int u32;
typedef unsigned long u64;

struct cell {
    u64 sum;
    u32 count;
}; /* 16 bytes */

struct {
    int (*type)[2]; /* BPF_MAP_TYPE_ARRAY */
    u32 *key;
    struct cell *value;
    int (*max_entries)[5];
} cells SEC(".maps");

struct {
    int (*type)[2];
    int (*key_size)[4];
    int (*value_size)[12];
    int (*max_entries)[3];
} odd SEC(".maps");

u64 map(u64 index, u64 value) {
    struct cell *all = (struct cell *)&cells;
    volatile u64 *others = (volatile u64 *)&odd;
    if (index >= 5)
        return ~0ul;
    all[index].sum += value;
    all[index].count++;
    others[5] += 1; /* the last of three cells of 16 bytes, its second half */
    return all[index].sum * 1000 + all[index].count * 10 + others[5];
}
