"""The user's commands against a lab: by kubectl where it is installed, by the lab's own client otherwise."""

from __future__ import annotations

import os
import shutil

import anyio

from chaos import install
from chaos.errors import ChaosError
from chaos.stage import Say, Stage


class Kubectl:
    """Runs commands as the user would, by kubectl or, without one, by the lab's own client."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self._stage = stage
        self._say = say
        self.installed = shutil.which("kubectl") is not None

    async def run(self, *args: str, shown: str | None = None, stdin: str | None = None) -> str:
        """kubectl with these arguments; its output. Raises ChaosError with what kubectl says."""
        self._say(f"$ {shown or ' '.join(('kubectl', *args))}")
        done = await anyio.run_process(
            ["kubectl", *args],
            input=stdin.encode() if stdin is not None else None,
            env={**os.environ, "KUBECONFIG": str(self._stage.lab.kubeconfig)},
            check=False,
        )
        if done.returncode != 0:
            complaint = " ".join(done.stderr.decode(errors="replace").split())
            raise ChaosError(f"kubectl {args[0]}: {complaint}")
        return done.stdout.decode(errors="replace").rstrip()

    async def apply(self, name: str, text: str) -> None:
        """Apply the objects of a YAML text; `name` is what the user would call the file."""
        if self.installed:
            for line in (
                await self.run("apply", "-f", "-", shown=f"kubectl apply -f {name}", stdin=text)
            ).splitlines():
                self._say(f"  {line}")
        else:
            self._say(f"applying {name} (no kubectl here: by the lab's own client)")
            await self._stage.lab.apply(install.documents(text))

    async def secret(self, key: str) -> None:
        """Create the ring's secret."""
        if self.installed:
            command = "kubectl create secret generic -n metallb-system memberlist --from-literal=secretkey="
            await self.run(
                *(
                    "create",
                    "secret",
                    "generic",
                    "-n",
                    install.NAMESPACE,
                    "memberlist",
                    f"--from-literal=secretkey={key}",
                ),
                shown=f'{command}"$(openssl rand -base64 128)"',
            )
        else:
            self._say("creating secret memberlist from 128 random bytes")
            await self._stage.lab.apply([install.secret(key)])

    async def show_services(self) -> None:
        """Print the Services with their addresses."""
        if self.installed:
            for line in (await self.run("get", "svc")).splitlines():
                self._say(f"  {line}")
        else:
            for name, address in (await self._stage.services()).items():
                self._say(f"  service {name}: EXTERNAL-IP {address}")
