"""The command line of people: typer and rich. Resident processes never import this module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import msgspec
import typer
from rich.console import Console

from speaker.status import MemberStatus, ServiceDiagnosis, SpeakerStatus, VipStatus
from vipring import __version__, render, timeline
from vipring.announcing import Announcement, announcement
from vipring.source import SourceError, Where, fetch_status

app = typer.Typer(
    name="vipring",
    help="Load balancer for bare-metal Kubernetes: a drop-in for MetalLB.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

console = Console()


def _examples(*commands: str) -> str:
    """The end of a help page, each example on a line of its own."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Ask this speaker, e.g. http://10.0.0.11:7472.")
]
Kubeconfig = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig", metavar="FILE", help="Reach the speakers through this cluster's API server."
    ),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the speakers.")]
NodeName = Annotated[str | None, typer.Option("--node", help="Ask the speaker of this node (default: any).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class OrderName(StrEnum):
    """Who owns an address: MetalLB's order since 0.11, or that of v0.9."""

    CURRENT = "current"
    V09 = "v0.9"


class Switch(StrEnum):
    """On or off."""

    ON = "on"
    OFF = "off"


class MembersDocument(msgspec.Struct):
    """What `vipring members --json` prints."""

    node: str
    encrypted: bool
    members: tuple[MemberStatus, ...]


class ExplainDocument(msgspec.Struct):
    """What `vipring explain --json` prints; `announcements` is by address."""

    node: str
    service: ServiceDiagnosis | None
    vips: list[VipStatus]
    announcements: dict[str, Announcement]


def _print_json(document: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")


def _tell(text: str) -> None:
    typer.echo(f"vipring: {text}", err=True)


def _fail(text: str, status: int = 1) -> NoReturn:
    _tell(text)
    raise typer.Exit(status)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"vipring {__version__}")
        raise typer.Exit


@app.command(context_settings=PASS_THROUGH)
def speaker(context: typer.Context) -> None:
    """Run the DaemonSet process (flags: vipring speaker --help)."""
    from vipring.resident import speaker as run

    raise typer.Exit(run(context.args))


@app.command(context_settings=PASS_THROUGH)
def controller(context: typer.Context) -> None:
    """Run the Deployment process (flags: vipring controller --help)."""
    from vipring.resident import controller as run

    raise typer.Exit(run(context.args))


@app.command(
    short_help="Show who is alive, now or in the past.",
    epilog=_examples(
        "vipring members",
        "vipring members --node n1 --json",
        "vipring members --url http://10.0.0.11:7472",
        "kubectl logs -n metallb-system -l component=speaker --tail=-1 --max-log-requests=1000 --prefix | "
        "vipring members --from-logs -",
    ),
)
def members(
    url: Url = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = "metallb-system",
    node: NodeName = None,
    from_logs: Annotated[
        list[str] | None,
        typer.Option(
            "--from-logs", metavar="FILE", help="Rebuild the past from JSON log lines; - is standard input."
        ),
    ] = None,
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE]...", help="More log files.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="With --from-logs: who was alive at this moment (RFC 3339; UTC where it names no zone).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the ring: who is alive, seen by one speaker now, or by all whose logs are given."""
    if from_logs:
        _members_from_logs([*from_logs, *(files or [])], at, as_json=as_json)
        return
    if at is not None or files:
        _fail("--at and FILE need --from-logs", 2)
    where = Where(url=url, kubeconfig=kubeconfig, namespace=namespace, node=node)
    try:
        status = fetch_status(where, tell=_tell)
    except SourceError as error:
        _fail(str(error))
    if as_json:
        _print_json(MembersDocument(status.node, status.ring.encrypted, status.ring.members))
    else:
        render.members(console, status, datetime.now(UTC))


def _members_from_logs(names: list[str], at: str | None, *, as_json: bool) -> None:
    if at is not None and timeline.moment(at) is None:
        _fail(f"--at: {at!r} is no moment; allowed: {timeline.MOMENTS_ALLOWED}", 2)
    with ExitStack() as stack:
        sources: list[tuple[str, Iterator[str]]] = []
        for name in names:
            try:
                opened: TextIO = (
                    sys.stdin if name == "-" else stack.enter_context(Path(name).open(errors="replace"))
                )
            except OSError as error:
                _fail(f"{name}: {error.strerror}", 2)
            sources.append(("stdin" if name == "-" else Path(name).name, iter(opened)))
        told = timeline.rebuild(sources)
    if at is not None:
        views = timeline.at(told, at)
        if as_json:
            _print_json(
                {name: {who: seen.state for who, seen in view.items()} for name, view in views.items()}
            )
        else:
            render.held(console, at, views)
    elif as_json:
        _print_json(told)
    else:
        render.timeline(console, told)


@app.command(
    short_help="Say who announces a Service's address, and why.",
    epilog=_examples(
        "vipring explain default/nginx", "vipring explain nginx --url http://10.0.0.11:7472 --json"
    ),
)
def explain(
    service: Annotated[
        str, typer.Argument(metavar="[NAMESPACE/]SERVICE", help="The Service; namespace default.")
    ],
    url: Url = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = "metallb-system",
    node: NodeName = None,
    as_json: Json = False,
) -> None:
    """Say who announces a Service's address and why, or what is missing.

    Exit 1 when nobody does: also when the owner does not announce, because its claim is held, asking or conflicted, or
    for another reason, which is printed. Through the API server the owner's own speaker is asked as well; with --url,
    or where it does not answer, that is said, and the exit status is 0.
    """
    key = service if "/" in service else f"default/{service}"
    if key.count("/") != 1 or not all(key.split("/")):
        _fail(f"{service!r} is not a Service; allowed: NAME or NAMESPACE/NAME", 2)
    where = Where(url=url, kubeconfig=kubeconfig, namespace=namespace, node=node)
    try:
        status = fetch_status(where, service=key, tell=_tell)
    except SourceError as error:
        _fail(str(error))
    vips = [vip for vip in status.vips if key in vip.services]
    heard = _owners(where, key, status, vips)
    found = {vip.address: announcement(vip, heard.get(vip.owner or "")) for vip in vips}
    if as_json:
        _print_json(ExplainDocument(status.node, status.service, vips, found))
    else:
        render.explain(console, key, status, vips, found)
    problem = status.service is not None and status.service.problem is not None
    if problem or any(each.announcing is False for each in found.values()):
        raise typer.Exit(1)


def _owners(where: Where, key: str, status: SpeakerStatus, vips: list[VipStatus]) -> dict[str, SpeakerStatus]:
    """The statuses of those owners that can be asked; only they know whether they announce."""
    heard = {status.node: status}
    if where.url is not None:
        return heard
    for owner in sorted({vip.owner for vip in vips if vip.owner is not None} - {status.node}):
        try:
            heard[owner] = fetch_status(replace(where, node=owner), service=key, tell=_tell)
        except SourceError as error:
            _tell(f"owner {owner}: {error}")
    return heard


@app.command(
    short_help="Work out allocations and owners for objects in files.",
    epilog=_examples(
        "vipring plan -f config.yaml -f services.yaml",
        "kubectl get nodes,svc,endpointslices,cm -A -o yaml | vipring plan -f - --members n1,n2 --json",
    ),
)
def plan(
    files: Annotated[
        list[str],
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="YAML or JSON of Kubernetes objects; a directory means all such files in it, - standard input.",
        ),
    ],
    members: Annotated[
        str | None,
        typer.Option("--members", metavar="NODE,...", help="Nodes with a live speaker (default: all Nodes)."),
    ] = None,
    order: Annotated[OrderName, typer.Option("--order", help="Who owns an address.")] = OrderName.CURRENT,
    as_json: Json = False,
) -> None:
    """Say what would be allocated and announced for the objects in files. Exit 1 on errors."""
    from election.order import Order
    from vipring.objectfiles import load
    from vipring.plan import plan as work_out

    paths = [path for name in files for path in _files(name)]
    documents = [("stdin" if path == "-" else path, _text(path)) for path in paths]
    live = [name.strip() for name in members.split(",") if name.strip()] if members is not None else None
    objects = load(documents)
    if live is None and not objects.nodes:
        typer.echo("no Node in the files: give some, or name the nodes with --members", err=True)
    result = work_out(objects, live, Order(order.value))
    if as_json:
        _print_json(result)
    else:
        render.plan(console, result)
    if result.errors:
        raise typer.Exit(1)


def _files(name: str) -> list[str]:
    """A directory's YAML and JSON files in the order of their names, as kubectl takes them; else the name itself."""
    if name == "-" or not Path(name).is_dir():
        return [name]
    found = sorted(path for path in Path(name).iterdir() if path.suffix in {".yaml", ".yml", ".json"})
    if not found:
        _fail(f"{name}: no .yaml, .yml or .json file in it", 2)
    return [str(path) for path in found]


def _text(name: str) -> str:
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{name}: {getattr(error, 'strerror', None) or 'not a text file'}", 2)


@app.command(
    short_help="Simulate rings: how long detection takes, what breaks them.",
    epilog=_examples(
        "vipring simulate --members 10 --runs 200",
        "vipring simulate --members 100 --faults half --fast-lane off --plot half.svg",
        "vipring simulate --members 20 --runs 500 --faults storm --seed 7 --json storm.json",
        "vipring simulate --faults list",
    ),
)
def simulate(
    members: Annotated[
        int, typer.Option("--members", min=2, max=5000, metavar="N", help="Members of the ring, 2 to 5000.")
    ] = 10,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="R", help="Rings simulated.")] = 20,
    faults: Annotated[
        str, typer.Option("--faults", metavar="FILE|NAME", help="What goes wrong; `list` shows the names.")
    ] = "crash",
    fast_lane: Annotated[
        Switch, typer.Option("--fast-lane", help="Whether members have a fast lane.")
    ] = Switch.ON,
    plain: Annotated[
        int,
        typer.Option(
            "--plain",
            min=0,
            metavar="N",
            help="Members, the last of them, that run memberlist: no fast lane.",
        ),
    ] = 0,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.0, metavar="S", help="Simulated seconds of a run, at least.")
    ] = 0.0,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, metavar="S", help="Seed of the first run; the next has S+1."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file.")
    ] = None,
    plot_file: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw detection and views as SVG.")
    ] = None,
) -> None:
    """Run rings of production members in virtual time, inflict faults, check what must hold, and measure detection.

    Exit 1 when a rule was broken; the shortest schedule that breaks it is printed.
    """
    from vipring import simulate as simulating

    if faults == "list":
        simulating.list_plans(console)
        return
    try:
        held = simulating.command(
            console,
            members=members,
            runs=runs,
            faults=faults,
            fast_lane=fast_lane is Switch.ON,
            plain=plain,
            seconds=seconds,
            seed=seed,
            json_file=json_file,
            plot_file=plot_file,
        )
    except simulating.SimulateError as error:
        _fail(str(error), 2)
    if not held:
        raise typer.Exit(1)


@app.command(
    context_settings=PASS_THROUGH,
    short_help="Tell the whole story in a cluster in a box.",
    epilog=_examples("vipring demo", "vipring demo --json facts.json"),
)
def demo(context: typer.Context) -> None:
    """Install, announce, kill the node, watch the address fail over: the whole story in a cluster in a box."""
    from chaos.demo import main

    raise typer.Exit(main(context.args))


@app.command(
    context_settings=PASS_THROUGH,
    epilog=_examples("vipring lab", "vipring lab --nodes 5"),
)
def lab(context: typer.Context) -> None:
    """Run a cluster in a box until Ctrl-C; prints KUBECONFIG."""
    from chaos.lab.__main__ import main

    raise typer.Exit(main(context.args))
