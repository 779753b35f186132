"""Where the API server is and how to prove who we are: tokens, certificates, the service account of a pod.

Environment variables come in as a mapping, so that nothing here depends on the process it runs in.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cluster.errors import CredentialsError

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MAX_FILE_BYTES = 4 * 2**20


class TokenSource(Protocol):
    """Something that knows the bearer token of the moment."""

    def current(self) -> str:
        """The token to send. Raises CredentialsError when there is none."""
        ...

    def refresh(self) -> bool:
        """The server refused the current token: look for another one; True when there is one. May block."""
        ...


class StaticToken:
    """A token that never changes."""

    def __init__(self, token: str, origin: str) -> None:
        self._token = _checked_token(token, origin)

    def current(self) -> str:
        """The token."""
        return self._token

    def refresh(self) -> bool:
        """There is no other one."""
        return False


class TokenFile:
    """A token in a file that the kubelet renews (bound service account tokens live about an hour).

    The file is looked at before every request and read when its identity, size or time of change differs.
    While it cannot be read, the last token stays in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._token: str | None = None

    def current(self) -> str:
        """The token in the file. Raises CredentialsError when none could ever be read."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if stamp != self._stamp:
                self._read()
                self._stamp = stamp
        except (OSError, CredentialsError) as error:
            if self._token is None:
                raise cannot_read(self._path, error) from error
        if self._token is None:
            raise CredentialsError(f"{self._path}: holds no token")
        return self._token

    def refresh(self) -> bool:
        """Read the file again whatever its stamp says."""
        before = self._token
        try:
            self._read()
        except (OSError, CredentialsError):
            return False
        return self._token != before

    def _read(self) -> None:
        self._token = _checked_token(read_bytes(self._path).decode("utf-8", "replace"), str(self._path))


@dataclass(frozen=True, slots=True)
class Access:
    """A way to an API server.

    `tls` is None for plain http. `server_name` is the name to verify the certificate against when it is not
    the host of `server`.
    """

    server: str
    namespace: str = "default"
    tls: ssl.SSLContext | None = None
    token: TokenSource | None = None
    server_name: str | None = None
    proxy: str | None = None


def in_cluster_access(environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT_DIR) -> Access:
    """The access of a pod: its service account files and the addresses the kubelet put in the environment.

    Raises CredentialsError outside a pod, naming what is missing.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise CredentialsError(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this process does not run in a pod"
        )
    token = TokenFile(directory / "token")
    token.current()
    try:
        namespace = read_bytes(directory / "namespace").decode("utf-8", "replace").strip()
    except OSError as error:
        raise cannot_read(directory / "namespace", error) from error
    if not namespace:
        raise CredentialsError(f"{directory / 'namespace'}: is empty, must hold the namespace of this pod")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(
        server=server, namespace=namespace, tls=client_tls(ca_file=directory / "ca.crt"), token=token
    )


def client_tls(
    *,
    ca_file: Path | None = None,
    ca_data: bytes | None = None,
    verify: bool = True,
    cert_file: Path | None = None,
    cert_data: bytes | None = None,
    key_file: Path | None = None,
    key_data: bytes | None = None,
) -> ssl.SSLContext:
    """A TLS context that trusts the given CA and nothing else (the system's CAs where none is given).

    Raises CredentialsError naming the file that cannot be used.
    """
    try:
        if ca_data:
            context = ssl.create_default_context(cadata=ca_data.decode("ascii", "replace"))
        else:
            context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CredentialsError(f"{ca_file or 'certificate-authority-data'}: no usable CA: {error}") from error
    # Cluster CAs often lack extensions that RFC 5280 asks for; Python 3.13 would refuse them, Go does not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert_file or cert_data:
        # ssl loads key pairs from files only.
        with tempfile.TemporaryDirectory(prefix="vipring-") as directory:
            try:
                cert = _as_file(cert_file, cert_data, Path(directory) / "cert.pem")
                key = _as_file(key_file, key_data, Path(directory) / "key.pem")
                if cert is not None:
                    context.load_cert_chain(cert, key)
            except (OSError, ssl.SSLError) as error:
                name = cert_file or "client-certificate-data"
                raise CredentialsError(f"{name}: no usable client certificate and key: {error}") from error
    return context


def _as_file(file: Path | None, data: bytes | None, scratch: Path) -> Path | None:
    if data is None:
        return file
    scratch.touch(mode=0o600)
    scratch.write_bytes(data)
    return scratch


def read_bytes(path: Path) -> bytes:
    """The content of a credentials file, at most 4 MiB of it. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_MAX_FILE_BYTES)


def cannot_read(path: Path, error: Exception) -> CredentialsError:
    """The error that says which file failed and why."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return CredentialsError(f"{path}: cannot be read: {reason}")


def _checked_token(text: str, origin: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise CredentialsError(f"{origin}: must be one token of printable ASCII characters")
    return token
