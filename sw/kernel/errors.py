"""How the kernel says no."""


class KernelPanic(RuntimeError):  # noqa: N818 - the field's word for it
    """The kernel of a node cannot go on."""


class RequestRefused(Exception):  # noqa: N818 - says what happened
    """A process cannot have what it asks for; the text says why and what to do."""


class OutOfMemoryError(RequestRefused):
    """Memory, or another thing of which there is so much and no more, is used up."""
