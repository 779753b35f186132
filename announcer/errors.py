"""Errors of this package. All derive from AnnouncerError; bytes from the wire never raise any of them."""


class AnnouncerError(Exception):
    """Base of every error that announcer raises on purpose."""


class ResponderError(AnnouncerError):
    """The responder process cannot be started or used: no permission, a bad option, a wrong call."""


class MessageError(AnnouncerError):
    """A message between the speaker and its responder does not follow announcer/layer2/encoding.py."""
