/* A map that is no array: refused. */
typedef unsigned int u32;

struct {
    int (*type)[1]; /* BPF_MAP_TYPE_HASH */
    u32 *key;
    u32 *value;
    int (*max_entries)[5];
} table __attribute__((section(".maps"), used));

u32 *find(u32 key) { return (u32 *)&table + key; }
