"""Flags and environment of the two resident processes (MetalLB's names, plus vipring's own).

Standard library only: the speaker checks its flags before it forks the responder, and nothing heavy may be
imported by then.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from announcer.layer2.gratuitous import FRAMES_PER_S, FRAMES_PER_S_ALLOWED
from controller.options import ControllerOptions
from gossip.fastconfig import AGREEMENT_ALLOWED, MISSES_ALLOWED, MISSES_MAX, PACE_ALLOWED_S, FastLaneConfig
from speaker.durations import go_duration
from speaker.options import (
    DEFAULT_HTTP_PORT,
    DEFAULT_KEY_OVERLAP_S,
    DEFAULT_RING_CONFIG,
    DEFAULT_RING_PORT,
    MAX_SECRET_BYTES,
    SECRET_FILE,
    RingOptions,
    SpeakerOptions,
    secret_file,
)
from vipring import __version__

_LANE: Final = FastLaneConfig()

_RING_ON: Final = {
    "ml-bindaddr": "METALLB_ML_BIND_ADDR",
    "ml-labels": "METALLB_ML_LABELS",
    "ml-namespace": "METALLB_ML_NAMESPACE",
}
"""Flags and variables without all of which there is no ring."""

ORDERS = ("current", "v0.9")

HOW_TO_CREATE = (
    "kubectl create secret generic -n metallb-system memberlist "
    '--from-literal=secretkey="$(openssl rand -base64 128)"'
)


class FlagError(Exception):
    """A flag, an environment variable or a file it names cannot be used.

    The text is one line that names the culprit and says what is allowed. `status` is the exit status: 2 for
    a wrong value, 1 for something that is missing.
    """

    def __init__(self, text: str, *, status: int = 2) -> None:
        super().__init__(text)
        self.status = status


class _Source:
    """A value from its flag, else from its environment variable, else the default; remembers which, for messages."""

    def __init__(self, flags: argparse.Namespace, env: Mapping[str, str]) -> None:
        self._flags = flags
        self._env = env

    def text(self, flag: str, variable: str = "", default: str = "") -> tuple[str, str]:
        """(value, name of where it came from); an empty variable counts as not set."""
        given: object = getattr(self._flags, flag.replace("-", "_"))
        if given is not None:
            return str(given), f"--{flag}"
        if variable and self._env.get(variable):
            return self._env[variable], variable
        return default, f"--{flag}"

    def port(self, flag: str, variable: str, default: int) -> int:
        """A TCP/UDP port, 1 to 65535."""
        value, name = self.text(flag, variable, str(default))
        if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 65535:
            raise FlagError(f"{name}: {value!r} is not a port; allowed: 1 to 65535")
        return int(value)

    def duration(self, flag: str, default: float, allowed: tuple[float, float]) -> float:
        """Seconds, from a Go duration such as 10m or 1h30m."""
        value, name = self.text(flag)
        if not value:
            return default
        low, high = allowed
        seconds = go_duration(value)
        if seconds is None or not low <= seconds <= high:
            raise FlagError(
                f"{name}: {value!r} is no duration from {low:g}s to {high:g}s (write 90s, 10m, 1h30m)"
            )
        return seconds

    def number(self, flag: str, default: int, allowed: tuple[int, int]) -> int:
        """A whole number within bounds."""
        value, name = self.text(flag, default=str(default))
        low, high = allowed
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise FlagError(f"{name}: {value!r} is no number from {low} to {high}")
        return int(value)

    def one_of(self, flag: str, variable: str, allowed: Sequence[str], default: str) -> str:
        """One of a fixed set of words."""
        value, name = self.text(flag, variable, default)
        if value not in allowed:
            raise FlagError(f"{name}: {value!r} is not known; allowed: {', '.join(allowed)}")
        return value


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="NAME", help="name of the ConfigMap (default: config)")
    parser.add_argument(
        "--port", metavar="PORT", help=f"HTTP port of metrics, health and status ({DEFAULT_HTTP_PORT})"
    )
    parser.add_argument("--host", metavar="ADDRESS", help="HTTP bind address (METALLB_HOST; default: all)")
    parser.add_argument(
        "--namespace", metavar="NS", help="namespace of the ConfigMap (default: the pod's own)"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="run outside the cluster with this kubeconfig")


def speaker_parser() -> argparse.ArgumentParser:
    """The parser of `vipring speaker`; --help prints it."""
    parser = argparse.ArgumentParser(
        exit_on_error=False,
        allow_abbrev=False,
        prog="vipring speaker",
        description="The DaemonSet process: member of the ring, announces the addresses this node owns.",
        epilog="example: vipring speaker --port=7472 --config=config   (with METALLB_NODE_NAME and the METALLB_ML_* "
        "variables of manifests/vipring.yaml)",
    )
    _common(parser)
    parser.add_argument(
        "--node-name", metavar="NAME", help="Kubernetes node name (METALLB_NODE_NAME); mandatory"
    )
    parser.add_argument("--ml-bindaddr", metavar="ADDRESS", help="ring address (METALLB_ML_BIND_ADDR)")
    parser.add_argument(
        "--ml-bindport", metavar="PORT", help=f"ring port (METALLB_ML_BIND_PORT; {DEFAULT_RING_PORT})"
    )
    parser.add_argument(
        "--ml-labels", metavar="SELECTOR", help="labels of the speaker pods (METALLB_ML_LABELS)"
    )
    parser.add_argument(
        "--ml-namespace", metavar="NS", help="namespace of the speaker pods (METALLB_ML_NAMESPACE)"
    )
    parser.add_argument("--ml-secret-key", metavar="TEXT", help="ring secret (METALLB_ML_SECRET_KEY)")
    parser.add_argument(
        "--ml-secret-key-path",
        metavar="PATH",
        help=f"file with the ring secret, or directory holding {SECRET_FILE} (METALLB_ML_SECRET_KEY_PATH)",
    )
    parser.add_argument(
        "--ml-config",
        metavar="FILE",
        help=f"MetalLB's file of ring settings ({DEFAULT_RING_CONFIG}, where it exists)",
    )
    parser.add_argument(
        "--ml-wan-config",
        metavar="BOOL",
        nargs="?",
        const="true",
        help="without that file: memberlist's settings for a WAN, not a LAN",
    )
    parser.add_argument("--ring-key-size", metavar="BYTES", help="32, or 16 beside MetalLB older than 0.14")
    parser.add_argument(
        "--fast-lane",
        metavar="on|off",
        help="find dead speakers in half a second (default: on, but off with --ml-wan-config=true)",
    )
    parser.add_argument(
        "--fast-lane-misses",
        metavar="N",
        help="unanswered questions in a row after which a silent speaker is given up "
        f"({_LANE.misses}; 3 where nodes do not stall)",
    )
    parser.add_argument(
        "--fast-lane-pace",
        metavar="DURATION",
        help=f"time between two questions ({_LANE.pace_s * 1000:g}ms; must exceed the round trip)",
    )
    parser.add_argument(
        "--fast-lane-agreement",
        metavar="N",
        help="speakers that must have asked a silent one themselves before it is given up, 1 to 3 "
        f"({_LANE.agreement}; a lone survivor decides alone)",
    )
    parser.add_argument(
        "--ring-key-overlap",
        metavar="DURATION",
        help="how long two secrets count after the secret's file changed; speakers may read it half of that apart "
        f"({DEFAULT_KEY_OVERLAP_S / 60:g}m)",
    )
    parser.add_argument(
        "--order", metavar="ORDER", help="who owns an address: current (MetalLB 0.11 on) or v0.9"
    )
    parser.add_argument(
        "--gratuitous-rate",
        metavar="N",
        help="gratuitous ARP frames a second at most, {} to {} ".format(*FRAMES_PER_S_ALLOWED)
        + f"({FRAMES_PER_S}; where many addresses come at once, a slow rate leaves out rounds)",
    )
    parser.add_argument("--insecure-ring", action="store_true", help="run the ring without encryption")
    return parser


def controller_parser() -> argparse.ArgumentParser:
    """The parser of `vipring controller`; --help prints it."""
    parser = argparse.ArgumentParser(
        exit_on_error=False,
        allow_abbrev=False,
        prog="vipring controller",
        description="The Deployment process: gives every LoadBalancer Service its address.",
        epilog="example: vipring controller --port=7472 --config=config",
    )
    _common(parser)
    return parser


def _parse(parser: argparse.ArgumentParser, argv: Sequence[str]) -> argparse.Namespace:
    try:
        flags, unknown = parser.parse_known_args(list(argv))
    except argparse.ArgumentError as error:
        raise FlagError(f"{error} (see {parser.prog} --help)") from None
    if unknown:
        raise FlagError(f"{unknown[0]}: unknown flag (see {parser.prog} --help)")
    return flags


def parse_speaker(argv: Sequence[str], env: Mapping[str, str]) -> SpeakerOptions:
    """Options of a speaker. Raises FlagError; SystemExit 0 after --help."""
    flags = _parse(speaker_parser(), argv)
    source = _Source(flags, env)
    node_name, _ = source.text("node-name", "METALLB_NODE_NAME")
    if not node_name:
        raise FlagError(
            "no node name: give --node-name or METALLB_NODE_NAME (in a pod: spec.nodeName)", status=1
        )
    return SpeakerOptions(
        node_name=node_name,
        config_name=source.text("config", default="config")[0],
        http_host=_host(source),
        http_port=source.port("port", "", DEFAULT_HTTP_PORT),
        ring=_ring(source, insecure=bool(flags.insecure_ring)),
        ring_missing=_ring_missing(source),
        order=source.one_of("order", "", ORDERS, ORDERS[0]),
        gratuitous_per_s=source.number("gratuitous-rate", FRAMES_PER_S, FRAMES_PER_S_ALLOWED),
        namespace=source.text("namespace")[0] or None,
        kubeconfig=source.text("kubeconfig")[0] or None,
        version=__version__,
    )


def parse_controller(argv: Sequence[str], env: Mapping[str, str]) -> ControllerOptions:
    """Options of a controller. Raises FlagError; SystemExit 0 after --help."""
    source = _Source(_parse(controller_parser(), argv), env)
    return ControllerOptions(
        config_name=source.text("config", default="config")[0],
        http_host=_host(source),
        http_port=source.port("port", "", DEFAULT_HTTP_PORT),
        namespace=source.text("namespace")[0] or None,
        kubeconfig=source.text("kubeconfig")[0] or None,
        version=__version__,
    )


def _host(source: _Source) -> str:
    value, name = source.text("host", "METALLB_HOST")
    if value:
        _address(value, name)
    return value


def _address(value: str, name: str) -> None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise FlagError(f"{name}: {value!r} is not an IP address") from None


def _ring_missing(source: _Source) -> tuple[str, ...]:
    return tuple(
        f"{variable} (--{flag})" for flag, variable in _RING_ON.items() if not source.text(flag, variable)[0]
    )


def _ring(source: _Source, *, insecure: bool) -> RingOptions | None:
    (bind, bind_name), (labels, _), (namespace, _) = (source.text(*pair) for pair in _RING_ON.items())
    port = source.port("ml-bindport", "METALLB_ML_BIND_PORT", DEFAULT_RING_PORT)
    key_size = int(source.one_of("ring-key-size", "", ("16", "32"), "32"))
    if bind:
        _address(bind, bind_name)
    if _ring_missing(source):
        return None
    config_path, _ = source.text("ml-config", default=DEFAULT_RING_CONFIG)
    overlap = source.duration("ring-key-overlap", DEFAULT_KEY_OVERLAP_S, (2.0, 86_400.0))
    secret, secret_path = (None, None) if insecure else _secret(source)
    wan = source.one_of("ml-wan-config", "", ("true", "false"), "false") == "true"
    return RingOptions(
        bind_address=bind,
        labels=labels,
        namespace=namespace,
        port=port,
        secret=secret,
        key_size=key_size,
        secret_path=secret_path,
        key_overlap_s=overlap,
        config_path=config_path,
        config_wanted=config_path != DEFAULT_RING_CONFIG,
        wan=wan,
        fast_lane=_fast_lane(source, "off" if wan else "on"),
    )


def _fast_lane(source: _Source, default: str) -> FastLaneConfig | None:
    on = source.one_of("fast-lane", "", ("on", "off"), default) == "on"
    misses = source.number("fast-lane-misses", _LANE.misses, MISSES_ALLOWED)
    pace_s = source.duration("fast-lane-pace", _LANE.pace_s, PACE_ALLOWED_S)
    agreement = source.number("fast-lane-agreement", _LANE.agreement, AGREEMENT_ALLOWED)
    # Without a wire to ask, more misses stand in for its answer: a second's worth at any pace, but never fewer than
    # `misses` and never more than MISSES_MAX, which below a pace of 50 ms are over in less than that second.
    without_wire = round(_LANE.misses_without_wire * _LANE.pace_s / pace_s)
    lane = FastLaneConfig(
        pace_s=pace_s,
        misses=misses,
        agreement=agreement,
        misses_without_wire=min(max(misses, without_wire), MISSES_MAX),
    )
    return lane if on else None


def _secret(source: _Source) -> tuple[bytes, str | None]:
    """The secret, and where to read it again."""
    text, name = source.text("ml-secret-key", "METALLB_ML_SECRET_KEY")
    path, path_name = source.text("ml-secret-key-path", "METALLB_ML_SECRET_KEY_PATH")
    if text:
        # Bytes of the environment that are not UTF-8 come as surrogates; the key is made of the original bytes.
        return _sized(os.fsencode(text), name), None
    if path:
        return _sized(_read_secret(Path(path), path_name), f"{path_name} {path}"), path
    raise FlagError(
        f"no ring secret: create it with {HOW_TO_CREATE}   and give METALLB_ML_SECRET_KEY_PATH or "
        "METALLB_ML_SECRET_KEY; --insecure-ring runs without encryption",
        status=1,
    )


def _read_secret(path: Path, name: str) -> bytes:
    file = secret_file(path)
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise FlagError(
            f"{name}: ring secret {file} cannot be read ({error.strerror}); create it with {HOW_TO_CREATE}",
            status=1,
        ) from None


def _sized(secret: bytes, name: str) -> bytes:
    if not secret:
        raise FlagError(f"{name}: the ring secret is empty; create it with {HOW_TO_CREATE}", status=1)
    if len(secret) > MAX_SECRET_BYTES:
        raise FlagError(f"{name}: the ring secret is larger than {MAX_SECRET_BYTES} bytes", status=1)
    return secret
