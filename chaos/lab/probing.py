"""Liveness, readiness and startup probes: the counting (pure) and the asking (httpGet and tcpSocket)."""

from __future__ import annotations

import ssl

import anyio

from chaos.lab.objects import Container, Probe


class ProbeCounter:
    """Turns single results into a verdict by the probe's thresholds (pkg/kubelet/prober/worker.go)."""

    def __init__(self, probe: Probe, *, healthy: bool) -> None:
        self.healthy = healthy
        self._probe = probe
        self._last: bool | None = None
        self._run = 0

    def book(self, good: bool) -> bool:
        """Count a result; True when the verdict changed."""
        self._run = self._run + 1 if good == self._last else 1
        self._last = good
        needed = self._probe.success_threshold if good else self._probe.failure_threshold
        if self._run < needed or self.healthy == good:
            return False
        self.healthy = good
        return True


def port_number(container: Container, port: int | str) -> int | None:
    """A probe's port, which may be the name of a container port."""
    if isinstance(port, int):
        return port
    named = [p.container_port for p in container.ports if p.name == port]
    return named[0] if named else (int(port) if port.isdigit() else None)


async def ask(container: Container, probe: Probe, pod_ip: str) -> str:
    """One question; what is wrong, empty when nothing is."""
    try:
        with anyio.fail_after(max(probe.timeout_seconds, 1)):
            if probe.http_get is not None:
                return await _http(container, probe, pod_ip)
            if probe.tcp_socket is not None:
                port = port_number(container, probe.tcp_socket.port)
                if port is None:
                    return f"no port named {probe.tcp_socket.port}"
                stream = await anyio.connect_tcp(probe.tcp_socket.host or pod_ip, port)
                await stream.aclose()
                return ""
    except TimeoutError:
        return f"no answer within {probe.timeout_seconds} s"
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        return str(error) or type(error).__name__
    return "the lab has httpGet and tcpSocket probes only"


async def _http(container: Container, probe: Probe, pod_ip: str) -> str:
    asked = probe.http_get
    if asked is None:
        raise AssertionError("asked of an httpGet probe only")
    port = port_number(container, asked.port)
    if port is None:
        return f"no port named {asked.port}"
    host = asked.host or pod_ip
    context = _careless() if asked.scheme == "HTTPS" else None
    stream = (
        await anyio.connect_tcp(host, port, ssl_context=context)
        if context
        else await anyio.connect_tcp(host, port)
    )
    async with stream:
        request = f"GET {asked.path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: kube-probe/1.32\r\nConnection: close\r\n\r\n"
        await stream.send(request.encode())
        head = b""
        while b"\r\n" not in head and len(head) < 4096:
            head += await stream.receive()
    words = head.split(b"\r\n", 1)[0].split(b" ")
    code = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"


def _careless() -> ssl.SSLContext:
    """Probes do not verify certificates (kubelet)."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
