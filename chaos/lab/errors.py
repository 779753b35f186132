"""The one family of errors that the lab raises."""

from __future__ import annotations


class LabError(Exception):
    """Something about the lab went wrong; the text is one line that says what and, where known, what to do."""


class NotAllowedError(LabError):
    """The kernel or a container around this process does not let it make namespaces."""


class DeadlineError(LabError):
    """A condition did not come true in time; the text says which."""
