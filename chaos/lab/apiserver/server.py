"""The embedded API server: sockets, TLS, tokens, and the life of the listeners."""

from __future__ import annotations

import base64
import contextlib
import random
import secrets
import socket
import uuid
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from types import TracebackType
from typing import Self

import anyio
import msgspec
import uvicorn
from typing_extensions import override

from chaos.lab.apiserver.app import App
from chaos.lab.apiserver.audit import Audit
from chaos.lab.apiserver.faults import Faults
from chaos.lab.apiserver.podio import PodIo
from chaos.lab.apiserver.store import SERVICE_NETWORK, Store
from chaos.lab.apiserver.tls import ServerCertificate, make_certificate

_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", "::1")
_START_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
ADMIN = "lab-admin"


def listening_socket(host: str, port: int = 0) -> socket.socket:
    """A bound TCP socket for the server, opened in the present network namespace. Port 0: any free one.

    The port is bound by number in the end, because only such a port survives `ApiServer.pause`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port == 0:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((host, port))
    found.listen(1024)
    return found


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the process that embeds the server has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = anyio.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell when connections are taken."""
        await super().startup(sockets)
        self.up.set()

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield


class ApiServer:
    """A Kubernetes API server in this process; an async context manager that serves while it is open.

    `sockets` come from `listening_socket`; the server closes them at its end. `names` are further DNS names and
    addresses for its certificate. `plain` serves without TLS; with `rbac` service accounts may do only
    what Roles allow them. Use `store` only from the event loop's thread.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        names: Sequence[str] = (),
        pods: PodIo | None = None,
        service_networks: Sequence[IPv4Network | IPv6Network] = (SERVICE_NETWORK,),
        history: int = 4096,
        bookmark_s: float = 10.0,
        seed: int | None = None,
        plain: bool = False,
        rbac: bool = False,
    ) -> None:
        self._sockets = list(sockets)
        for found in self._sockets:
            # Inherited by what is accepted. asyncio sets it only on sockets whose protocol number is spelled out;
            # without it each answer waits 40 ms for a delayed acknowledgement.
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        addresses = [str(s.getsockname()[0]) for s in self._sockets]
        certificate: ServerCertificate = make_certificate([*_NAMES, *addresses, *names], datetime.now(UTC))
        self.ca_pem = certificate.ca_pem
        self._tls = None if plain else certificate.context()
        rng = random.Random(seed)
        self.store = Store(
            clock=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            uid=lambda: str(uuid.uuid4()),
            rng=rng,
            service_networks=service_networks,
            history=history,
            root_ca=self.ca_pem,
        )
        self._tokens: dict[str, str] = {}
        self.pods = pods or PodIo()
        self._app = App(
            self.store,
            authenticate=self._tokens.get,
            mint=self.mint_token,
            on_faults=self._on_faults,
            pods=self.pods,
            rng=rng,
            bookmark_s=bookmark_s,
            rbac=rbac,
        )
        self.admin_token = self.add_token(ADMIN)
        self._first_objects()
        self._tasks = anyio.create_task_group()
        self._running: _Uvicorn | None = None
        self._ended = anyio.Event()

    # -- identity -----------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """URL of the first socket."""
        host, port = self._sockets[0].getsockname()[:2]
        return f"{'https' if self._tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def add_token(self, user: str) -> str:
        """A token that stands for a user."""
        token = secrets.token_urlsafe(24)
        self._tokens[token] = user
        return token

    def mint_token(self, namespace: str, service_account: str) -> str:
        """A token that stands for a service account; what a pod finds in its file."""
        return self.add_token(f"system:serviceaccount:{namespace}:{service_account}")

    def revoke_token(self, token: str) -> None:
        """Make a token unknown."""
        self._tokens.pop(token, None)

    def kubeconfig(self, server_url: str | None = None, token: str | None = None) -> str:
        """A kubeconfig (JSON, which is YAML) for the admin or the bearer of another token."""
        cluster = {"server": server_url or self.base_url}
        if self._tls:
            cluster["certificate-authority-data"] = _base64(self.ca_pem)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": {"token": token or self.admin_token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }
        return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"

    def _first_objects(self) -> None:
        kinds = self.store.kinds
        for name in _START_NAMESPACES:
            self.store.create(kinds.by_resource("namespaces"), "", {"metadata": {"name": name}})
        ports = [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]
        meta = {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}}
        self.store.create(
            kinds.by_resource("services"), "default", {"metadata": meta, "spec": {"ports": ports}}
        )

    # -- state --------------------------------------------------------------------------------------------

    @property
    def audit(self) -> Audit:
        """Counters of requests."""
        return self._app.audit

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self._app.injector.faults

    def set_faults(self, faults: Faults) -> None:
        """Put faults in force; `Faults()` heals the server."""
        self._app.set_faults(faults)

    def _on_faults(self, faults: Faults) -> None:
        if faults.drop:
            self.drop_connections()
        if faults.down_s > 0:
            self._tasks.start_soon(self._down_for, faults.down_s)

    def drop_connections(self) -> None:
        """Cut every open connection."""
        if self._running is not None:
            _cut(self._running)

    async def _down_for(self, seconds: float) -> None:
        await self.pause()
        await anyio.sleep(seconds)
        await self.resume()

    # -- life ---------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        await self.resume()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        with anyio.CancelScope(shield=True):
            await self.pause()
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        finally:
            for found in self._sockets:
                found.close()

    async def pause(self) -> None:
        """Be down: cut all connections and refuse new ones. The store stays as it is."""
        server = self._running
        if server is None:
            return
        self._running = None
        for acceptor in server.servers:
            acceptor.close()  # before the sockets stop listening, or asyncio goes on accepting in vain
        for found in self._sockets:
            found.shutdown(socket.SHUT_RDWR)
        _cut(server)
        server.should_exit = server.force_exit = True
        await self._ended.wait()

    async def resume(self) -> None:
        """Serve again."""
        if self._running is not None:
            return
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            http="h11",
            loop="none",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            timeout_keep_alive=90,
            h11_max_incomplete_event_size=64 * 1024,
        )
        config.load()
        config.ssl = self._tls
        server = _Uvicorn(config)
        self._ended = anyio.Event()
        self._tasks.start_soon(self._serve, server, self._ended)
        await server.up.wait()
        self._running = server

    async def _serve(self, server: _Uvicorn, ended: anyio.Event) -> None:
        try:
            copies = []
            for found in self._sockets:
                found.listen(1024)
                copies.append(found.dup())
            await server.serve(sockets=copies)
        finally:
            ended.set()


def _cut(server: uvicorn.Server) -> None:
    for connection in list(server.server_state.connections):
        transport = getattr(connection, "transport", None)
        if transport is not None:
            transport.abort()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
