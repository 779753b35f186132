"""What the lab runs for an image name: there is no registry and no image store, the host's own programs are the images."""

from __future__ import annotations

import compileall
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from chaos.lab.errors import LabError

_PACKAGES = ("vipring", "speaker", "controller", "cluster", "announcer", "election", "gossip", "chaos")
_OWN = ("vipring/vipring", "vipring/vipring:*")
_ECHO = ("vipring/echo", "vipring/echo:*")
_NGINX = ("nginx", "nginx:*", "library/nginx:*", "docker.io/library/nginx:*")
_BASE = ("busybox", "busybox:*", "debian", "debian:*")
PATH = f"{os.path.dirname(sys.executable)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its entry point and default arguments, its environment, and files by directory that it adds."""

    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def command(self, command: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """What to execute: a container's `command` replaces the entry point and drops the default arguments."""
        if command:
            return [*command, *arguments]
        return [*self.entrypoint, *(arguments or self.arguments)]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _python(module: str) -> Image:
    return Image(
        (sys.executable, "-P", "-m", module),
        environment={
            "PYTHONPATH": str(source_root()),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
        },
    )


def _nginx() -> Image:
    if shutil.which("nginx", path=PATH) is None:
        raise LabError("nginx is not installed here; install it with: apt-get install nginx-light")
    return Image(
        ("nginx",),
        files={
            "/etc/nginx": {"nginx.conf": _NGINX_CONF, "conf.d/default.conf": _NGINX_SITE},
            "/usr/share/nginx/html": {"index.html": _NGINX_PAGE},
        },
    )


# One process and one user, because a user namespace with a single uid has no second one for workers.
_NGINX_CONF = """user root root;
daemon off;
master_process off;
pid /tmp/nginx.pid;
error_log stderr notice;
events { worker_connections 512; }
http {
  types { text/html html; text/plain txt; application/json json; }
  default_type application/octet-stream;
  access_log /dev/stdout;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  include /etc/nginx/conf.d/*.conf;
}
"""
_NGINX_SITE = """server {
  listen 80 default_server;
  server_name _;
  root /usr/share/nginx/html;
  add_header X-Pod $hostname always;
}
"""
_NGINX_PAGE = """<!doctype html>
<title>Welcome to nginx!</title>
<h1>Welcome to nginx!</h1>
"""


def find_image(name: str) -> Image | None:
    """The image of this name; None where the lab has none. Raises LabError when its program is not installed."""
    if _matches(name, _OWN):
        return _python("vipring")
    if _matches(name, _ECHO):
        return _python("chaos.lab.echo")
    if _matches(name, _NGINX):
        return _nginx()
    if _matches(name, _BASE):
        return Image(("/bin/sh",))
    return None


def source_root() -> Path:
    """The directory that holds our packages: the checkout, or site-packages."""
    return Path(__file__).resolve().parents[2]


def needed_paths() -> list[Path]:
    """Directories that a container must be able to reach whoever its user is: Python and our packages."""
    found = {Path(p).resolve() for p in (sys.prefix, sys.base_prefix, os.path.dirname(sys.executable))}
    return sorted({*found, source_root(), Path(sys.prefix)})


def compile_packages() -> None:
    """Write the bytecode files that containers use, since those see the packages read-only."""
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        for directory in (spec.submodule_search_locations or ()) if spec else ():
            compileall.compile_dir(directory, quiet=2)
