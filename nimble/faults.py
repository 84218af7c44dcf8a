"""The one kind of error that stops an extension and nothing else."""

from __future__ import annotations


class Fault(Exception):  # noqa: N818 - the word for it in every outcome and report
    """Raised below a running extension: the engine turns it into an outcome; it never reaches the kernel."""
