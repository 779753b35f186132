"""The one family of errors that this package raises."""

from __future__ import annotations


class ClusterError(Exception):
    """Base of every error raised by `cluster`. Its text is one line, fit for a log."""


class ConfigError(ClusterError):
    """A configuration that is refused as a whole; the text names the field and says what is allowed."""


class CredentialsError(ClusterError):
    """A kubeconfig or a service account that cannot be used; the text names the file or variable."""


class UnreachableError(ClusterError):
    """No HTTP answer came: refused, timed out, reset, TLS failure, name not found."""


class BadResponseError(ClusterError):
    """An HTTP answer came that is not what the Kubernetes API sends: garbage, too large, wrong shape."""


class ApiError(ClusterError):
    """The API server refused a request.

    `status` is the HTTP status, `reason` and `message` come from the v1.Status in the body (`reason` is empty
    where the body is something else). `retry_after_s` is the server's Retry-After in seconds, if it sent one.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if reason else f"{status}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def not_found(self) -> bool:
        """The object, its namespace or its kind does not exist."""
        return self.status == 404

    @property
    def conflict(self) -> bool:
        """Somebody else wrote the object since it was read, or it exists already."""
        return self.status == 409

    @property
    def expired(self) -> bool:
        """The resourceVersion or continue token is too old: list again."""
        return self.status == 410

    @property
    def transient(self) -> bool:
        """The same request may succeed later: overload, time-out, server trouble."""
        return self.status in {408, 425, 429} or self.status >= 500
