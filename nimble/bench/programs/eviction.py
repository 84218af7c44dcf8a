"""Which page to evict: the first in the kernel's queue that is not one of the application's hot pages.

Ref: Small & Seltzer, "A Comparison of OS Extension Technologies", USENIX 1996, section 4 (page eviction). Both lists
are chains of nodes, linked by the number of the next one.
"""

from nimble.python import Pointer, entry, struct, u64

NOTHING = 0  # node 0 ends a list


@struct
class Node:
    page: u64
    following: u64


@entry
def run(repetitions: u64, queue: Pointer[Node], hot: Pointer[Node], heads: u64) -> u64:
    """A sum of chosen pages: each repetition begins once at each of the first ``heads`` nodes of the queue."""
    total: u64 = 0
    for _ in range(repetitions):
        for head in range(1, heads + 1):
            total += choose(queue, hot, head)
    return total


def choose(queue: Pointer[Node], hot: Pointer[Node], first: u64) -> u64:
    """The page to evict; of a queue of hot pages only, the kernel's own choice: the first."""
    candidate = first
    while candidate != NOTHING:
        if not is_hot(hot, queue[candidate].page):
            return queue[candidate].page
        candidate = queue[candidate].following
    return queue[first].page


def is_hot(hot: Pointer[Node], page: u64) -> bool:
    node: u64 = 1
    while node != NOTHING:
        if hot[node].page == page:
            return True
        node = hot[node].following
    return False
