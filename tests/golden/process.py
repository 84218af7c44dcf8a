"""Commands as a process writes them, from keyword arguments named like the records' fields."""

from rtl.portals import (
    COMMAND,
    COUNTER_COMMAND,
    LIST_COMMAND,
    AtomicOperation,
    List,
    Operation,
)


def put(**fields: int) -> list[int]:
    return COMMAND.pack(operation=Operation.PUT, **fields)


def get(**fields: int) -> list[int]:
    return COMMAND.pack(operation=Operation.GET, **fields)


def atomic(atomic_operation: int, atomic_type: int, **fields: int) -> list[int]:
    return COMMAND.pack(
        operation=Operation.ATOMIC, atomic_operation=atomic_operation, atomic_type=atomic_type, **fields
    )


def fetch_atomic(atomic_operation: int, atomic_type: int, **fields: int) -> list[int]:
    return COMMAND.pack(
        operation=Operation.FETCH_ATOMIC, atomic_operation=atomic_operation, atomic_type=atomic_type, **fields
    )


def swap(atomic_type: int, atomic_operation: int = AtomicOperation.SWAP, **fields: int) -> list[int]:
    return COMMAND.pack(operation=Operation.SWAP, atomic_operation=atomic_operation, atomic_type=atomic_type, **fields)


def portal(pt_index: int, *, flow_control: bool = False) -> list[int]:
    """Allocates an entry of the portal table."""
    return LIST_COMMAND.pack(operation=Operation.PT_ALLOC, pt_index=pt_index, flow_control=flow_control)


def portal_do(operation: Operation, pt_index: int) -> list[int]:
    """PT_FREE, PT_ENABLE or PT_DISABLE."""
    return LIST_COMMAND.pack(operation=operation, pt_index=pt_index)


# What a match entry has if nothing else is said: it takes everything, from everybody, without the event LINK.
USUAL_ENTRY = {"any_nid": 1, "any_pid": 1, "op_put": 1, "op_get": 1, "event_link_disable": 1}


def append(which: List = List.PRIORITY, **fields: int) -> list[int]:
    return LIST_COMMAND.pack(operation=Operation.ME_APPEND, list=which, **(USUAL_ENTRY | fields))


def unlink(entry: int) -> list[int]:
    return LIST_COMMAND.pack(operation=Operation.ME_UNLINK, entry=entry)


def search(**fields: int) -> list[int]:
    return LIST_COMMAND.pack(operation=Operation.ME_SEARCH, **({"any_nid": 1, "any_pid": 1} | fields))


def counter_set(counter: int, success: int, failure: int = 0, user_data: int = 0) -> list[int]:
    return COUNTER_COMMAND.pack(
        operation=Operation.COUNTER_SET, counter=counter, success=success, failure=failure, user_data=user_data
    )


def counter_increment(counter: int, success: int, failure: int = 0, user_data: int = 0) -> list[int]:
    return COUNTER_COMMAND.pack(
        operation=Operation.COUNTER_INCREMENT, counter=counter, success=success, failure=failure, user_data=user_data
    )
