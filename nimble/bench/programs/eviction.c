/* Which page to evict: the first in the kernel's queue that is not one of the application's hot pages.

   Ref: Small & Seltzer, "A Comparison of OS Extension Technologies", USENIX 1996, section 4 (page eviction). Both lists
   are chains of nodes, linked by the number of the next one. */
#include <stdbool.h>
#include <stdint.h>

#define NOTHING 0 /* node 0 ends a list */

struct node {
    uint64_t page;
    uint64_t following;
};

static bool is_hot(const struct node *hot, uint64_t page)
{
    uint64_t node = 1;
    while (node != NOTHING) {
        if (hot[node].page == page)
            return true;
        node = hot[node].following;
    }
    return false;
}

/* The page to evict; of a queue of hot pages only, the kernel's own choice: the first. */
static uint64_t choose(const struct node *queue, const struct node *hot, uint64_t first)
{
    uint64_t candidate = first;
    while (candidate != NOTHING) {
        if (!is_hot(hot, queue[candidate].page))
            return queue[candidate].page;
        candidate = queue[candidate].following;
    }
    return queue[first].page;
}

/* A sum of chosen pages: each repetition begins once at each of the first nodes of the queue. */
uint64_t run(uint64_t repetitions, const struct node *queue, const struct node *hot, uint64_t heads)
{
    uint64_t total = 0;
    for (uint64_t repetition = 0; repetition < repetitions; repetition++)
        for (uint64_t head = 1; head <= heads; head++)
            total += choose(queue, hot, head);
    return total;
}
