"""How the kernel says no."""


class KernelPanic(BaseException):
    """The kernel of a node cannot go on. No Exception, because it may come up in the middle of an application, whose
    `except` clauses must not see it."""


class RequestRefused(Exception):  # noqa: N818 - says what happened
    """A process cannot have what it asks for; the text says why and what to do."""


class OutOfMemoryError(RequestRefused):
    """Memory, or another thing of which there is so much and no more, is used up."""
