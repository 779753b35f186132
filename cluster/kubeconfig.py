"""kubeconfig files (client-go's format, kubernetes.io/docs/concepts/configuration/organize-cluster-access-
kubeconfig).

Environment variables come in as a mapping, so that nothing here depends on the process it runs in.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from cluster.credentials import (
    Access,
    StaticToken,
    TokenFile,
    TokenSource,
    cannot_read,
    client_tls,
    read_bytes,
)
from cluster.errors import CredentialsError


class _Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""


class _User(msgspec.Struct, frozen=True):
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    client_certificate: str = msgspec.field(default="", name="client-certificate")
    client_certificate_data: str = msgspec.field(default="", name="client-certificate-data")
    client_key: str = msgspec.field(default="", name="client-key")
    client_key_data: str = msgspec.field(default="", name="client-key-data")
    username: str = ""
    exec_plugin: dict[str, object] | None = msgspec.field(default=None, name="exec")
    auth_provider: dict[str, object] | None = msgspec.field(default=None, name="auth-provider")


class _Context(msgspec.Struct, frozen=True):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: _Cluster | None = None


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: _User | None = None


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: _Context | None = None


class _Kubeconfig(msgspec.Struct, frozen=True, rename="kebab"):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = None


def kubeconfig_paths(path: str | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that make up the kubeconfig: the one given, those of $KUBECONFIG, or ~/.kube/config."""
    if path:
        return (Path(path),)
    if listed := [part for part in environ.get("KUBECONFIG", "").split(":") if part]:
        return tuple(Path(part) for part in listed)
    return (Path(environ.get("HOME") or "/") / ".kube" / "config",)


def kubeconfig_access(paths: Sequence[Path], context: str | None = None) -> Access:
    """The access that a kubeconfig describes; of several files the first that defines a name wins.

    Certificates, tokens and token files are handled here; logins by plugin (`exec`, `auth-provider`)
    are handed to the `kubernetes` package. Raises CredentialsError naming the file or the entry.
    """
    where = ":".join(str(path) for path in paths)
    files = [(path.parent, _load_kubeconfig(path)) for path in paths if len(paths) == 1 or path.exists()]
    name = context or next((file.current_context for _, file in files if file.current_context), None)
    if name is None:
        raise CredentialsError(f"{where}: current-context is not set and no context was asked for")
    _, chosen = _find(
        files, lambda file: file.contexts or (), name, lambda entry: entry.context, where, "context"
    )
    base, cluster = _find(
        files, lambda file: file.clusters or (), chosen.cluster, lambda entry: entry.cluster, where, "cluster"
    )
    if urlsplit(cluster.server).scheme not in {"http", "https"}:
        raise CredentialsError(
            f"{where}: cluster {chosen.cluster!r}: server must be an http or https URL, is {cluster.server!r}"
        )
    user_base, user = base, _User()
    if chosen.user:
        user_base, user = _find(
            files, lambda file: file.users or (), chosen.user, lambda entry: entry.user, where, "user"
        )
    if user.username:
        raise CredentialsError(
            f"{where}: user {chosen.user!r}: logs in by password, which no API server takes since Kubernetes 1.19"
        )
    if user.exec_plugin or user.auth_provider:
        return _plugin_access(paths, name, chosen.namespace or "default", cluster)
    token: TokenSource | None = None
    if user.token_file:
        token = TokenFile(user_base / user.token_file)
    elif user.token:
        token = StaticToken(user.token, f"{where}: user {chosen.user!r}: token")
    return Access(
        server=cluster.server.rstrip("/"),
        namespace=chosen.namespace or "default",
        tls=_tls(base, cluster, user_base, user, where),
        token=token,
        server_name=cluster.tls_server_name or None,
        proxy=cluster.proxy_url or None,
    )


def _tls(base: Path, cluster: _Cluster, user_base: Path, user: _User, where: str) -> ssl.SSLContext | None:
    """The TLS context, None for plain http; file names are relative to the kubeconfig that holds them."""
    if not cluster.server.startswith("https://"):
        return None
    return client_tls(
        ca_file=base / cluster.certificate_authority if cluster.certificate_authority else None,
        ca_data=_decoded(cluster.certificate_authority_data, f"{where}: certificate-authority-data"),
        verify=not cluster.insecure_skip_tls_verify,
        cert_file=user_base / user.client_certificate if user.client_certificate else None,
        cert_data=_decoded(user.client_certificate_data, f"{where}: client-certificate-data"),
        key_file=user_base / user.client_key if user.client_key else None,
        key_data=_decoded(user.client_key_data, f"{where}: client-key-data"),
    )


_Entry = TypeVar("_Entry", _NamedCluster, _NamedUser, _NamedContext)
_Value = TypeVar("_Value")


def _find(
    files: Sequence[tuple[Path, _Kubeconfig]],
    entries: Callable[[_Kubeconfig], Sequence[_Entry]],
    name: str,
    value: Callable[[_Entry], _Value | None],
    where: str,
    what: str,
) -> tuple[Path, _Value]:
    for base, file in files:
        for entry in entries(file):
            found = value(entry)
            if entry.name == name and found is not None:
                return base, found
    raise CredentialsError(f"{where}: {what} {name!r} is not defined")


def _load_kubeconfig(path: Path) -> _Kubeconfig:
    import yaml

    try:
        loaded: object = yaml.safe_load(read_bytes(path))
    except OSError as error:
        raise cannot_read(path, error) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CredentialsError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    try:
        return msgspec.convert(loaded or {}, _Kubeconfig)
    except msgspec.ValidationError as error:
        raise CredentialsError(f"{path}: is not a kubeconfig: {error}") from error


class _PluginConfiguration(Protocol):
    """The part of kubernetes.client.Configuration that is read here."""

    ssl_ca_cert: str | None
    verify_ssl: bool
    cert_file: str | None
    key_file: str | None

    def get_api_key_with_prefix(self, identifier: str, alias: str | None = None) -> str | None: ...


def _token_of(configuration: _PluginConfiguration) -> str:
    # The package renamed the key; the alias covers both names.
    value = configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    return value.removeprefix("Bearer ")


class PluginToken:
    """The Authorization value that a login plugin produced, renewed by running the plugin again."""

    def __init__(self, token: str, load: Callable[[], _PluginConfiguration]) -> None:
        self._token = token
        self._load = load

    def current(self) -> str:
        """The token the plugin gave."""
        return self._token

    def refresh(self) -> bool:
        """Run the plugin again (it may start a program: call this in a thread)."""
        before = self._token
        self._token = _token_of(self._load()) or before
        return self._token != before


def _plugin_access(paths: Sequence[Path], context: str, namespace: str, cluster: _Cluster) -> Access:
    where = ":".join(str(path) for path in paths)
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise CredentialsError(
            f"{where}: context {context!r} logs in by a plugin, which needs the Python package "
            "kubernetes: pip install 'vipring[lab]'"
        ) from error

    def load() -> _PluginConfiguration:
        loaded: _PluginConfiguration = client.Configuration()
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=where, context=context, client_configuration=loaded
            )
        except Exception as error:
            raise CredentialsError(f"{where}: context {context!r}: {' '.join(str(error).split())}") from error
        return loaded

    loaded = load()
    tls = None
    if cluster.server.startswith("https://"):
        tls = client_tls(
            ca_file=Path(loaded.ssl_ca_cert) if loaded.ssl_ca_cert else None,
            verify=loaded.verify_ssl,
            cert_file=Path(loaded.cert_file) if loaded.cert_file else None,
            key_file=Path(loaded.key_file) if loaded.key_file else None,
        )
    token = _token_of(loaded)
    if not token and not loaded.cert_file:
        raise CredentialsError(f"{where}: context {context!r}: the login gave neither token nor certificate")
    return Access(
        server=cluster.server.rstrip("/"),
        namespace=namespace,
        tls=tls,
        token=PluginToken(token, load) if token else None,
        server_name=cluster.tls_server_name or None,
        proxy=cluster.proxy_url or None,
    )


def _decoded(data: str, where: str) -> bytes | None:
    if not data:
        return None
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CredentialsError(f"{where}: must be base64: {error}") from error
