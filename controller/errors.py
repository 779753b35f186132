"""The errors of the controller."""

from __future__ import annotations


class ControllerError(Exception):
    """Base of all errors raised by this package."""


class AllocationError(ControllerError):
    """An address cannot be given to a service; the text is MetalLB's (internal/allocator). No state was touched."""


class IncompatiblePoolsError(ControllerError):
    """New pools do not hold an address that a service has. The pools in force stay; no state was touched."""
