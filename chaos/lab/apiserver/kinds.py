"""The table of served kinds. Registering a CustomResourceDefinition adds to it while the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrinterColumn:
    """One `additionalPrinterColumns` entry of a CustomResourceDefinition."""

    name: str
    type: str
    path: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One served (group, version, kind).

    `status` and `scale` say which subresources there are, `other` names further ones (for discovery);
    `generation` says whether metadata.generation counts changes outside metadata and status,
    `create_on_put` whether a PUT to a name that is not there creates.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    status: bool = False
    scale: bool = False
    generation: bool = False
    create_on_put: bool = False
    categories: tuple[str, ...] = ()
    other: tuple[tuple[str, str], ...] = ()
    custom: bool = False
    singular: str = ""
    list_kind: str = ""
    columns: tuple[PrinterColumn, ...] = ()

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1` …"""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """`services`, `deployments.apps` …: the name under which objects of all versions are kept."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_name(self) -> str:
        """Kind of a list of these."""
        return self.list_kind or self.kind + "List"


_ALL = ("all",)
_POD_OTHER = (
    ("log", "Pod"),
    ("proxy", "PodProxyOptions"),
    ("binding", "Binding"),
    ("eviction", "Eviction"),
)
_RBAC = "rbac.authorization.k8s.io"

BUILT_IN: tuple[Kind, ...] = (
    Kind("", "v1", "Namespace", "namespaces", namespaced=False, short_names=("ns",), status=True),
    Kind("", "v1", "Node", "nodes", namespaced=False, short_names=("no",), status=True),
    Kind("", "v1", "Pod", "pods", short_names=("po",), status=True, categories=_ALL, other=_POD_OTHER),
    Kind(
        "", "v1", "Service", "services", create_on_put=True, short_names=("svc",), status=True, categories=_ALL,
        other=(("proxy", "ServiceProxyOptions"),),
    ),
    Kind("", "v1", "Endpoints", "endpoints", create_on_put=True, short_names=("ep",), singular="endpoints", list_kind="EndpointsList"),
    Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",)),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "ServiceAccount", "serviceaccounts", short_names=("sa",), other=(("token", "TokenRequest"),)),
    Kind("", "v1", "Event", "events", create_on_put=True, short_names=("ev",)),
    Kind(
        "apps", "v1", "Deployment", "deployments", short_names=("deploy",), status=True, scale=True,
        generation=True, categories=_ALL,
    ),
    Kind(
        "apps", "v1", "DaemonSet", "daemonsets", short_names=("ds",), status=True, generation=True,
        categories=_ALL,
    ),
    Kind(
        "apps", "v1", "ReplicaSet", "replicasets", short_names=("rs",), status=True, scale=True,
        generation=True, categories=_ALL,
    ),
    Kind("apps", "v1", "ControllerRevision", "controllerrevisions"),
    Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", generation=True),
    Kind(_RBAC, "v1", "Role", "roles", create_on_put=True),
    Kind(_RBAC, "v1", "RoleBinding", "rolebindings", create_on_put=True),
    Kind(_RBAC, "v1", "ClusterRole", "clusterroles", create_on_put=True, namespaced=False),
    Kind(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", create_on_put=True, namespaced=False),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", create_on_put=True),
    Kind(
        "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions",
        namespaced=False, short_names=("crd", "crds"), status=True, generation=True,
    ),
    Kind(
        "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",),
        generation=True, singular="networkpolicy", list_kind="NetworkPolicyList",
    ),
    Kind(
        "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",), status=True,
        generation=True,
    ),
    Kind(
        "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations", namespaced=False, generation=True,
    ),
    Kind(
        "scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False, short_names=("pc",),
        singular="priorityclass",
    ),
)  # fmt: skip


class KindTable:
    """Kinds by path. The first version registered of a resource is the one its objects are stored in."""

    def __init__(self, kinds: tuple[Kind, ...] = BUILT_IN) -> None:
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self._stored: dict[str, Kind] = {}
        for kind in kinds:
            self.register(kind)

    def register(self, kind: Kind) -> None:
        """Serve a kind."""
        self._by_path[kind.group, kind.version, kind.plural] = kind
        self._stored.setdefault(kind.resource, kind)

    def unregister(self, resource: str) -> None:
        """Stop serving all versions of a resource (`plural.group`)."""
        self._stored.pop(resource, None)
        for path, kind in list(self._by_path.items()):
            if kind.resource == resource:
                del self._by_path[path]

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind served at a path, if any."""
        return self._by_path.get((group, version, plural))

    def stored(self) -> list[Kind]:
        """One kind a resource, in order of registration."""
        return list(self._stored.values())

    def by_resource(self, resource: str) -> Kind:
        """The stored kind of `services`, `deployments.apps` …; a bare plural does where only one group has it.

        Raises KeyError.
        """
        if resource in self._stored:
            return self._stored[resource]
        found = [kind for kind in self._stored.values() if kind.plural == resource]
        if len(found) != 1:
            raise KeyError(resource)
        return found[0]

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        """The kind that an object's apiVersion and kind name."""
        group, _, version = api_version.rpartition("/")
        for known in self._by_path.values():
            if known.group == group and known.version == version and known.kind == kind:
                return known
        return None

    def group_versions(self) -> dict[str, list[str]]:
        """Served versions by group, in order of registration."""
        found: dict[str, list[str]] = {}
        for kind in self._by_path.values():
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        return found

    def all(self) -> list[Kind]:
        """All kinds in all served versions."""
        return list(self._by_path.values())

    def of_version(self, group: str, version: str) -> Iterator[Kind]:
        """All kinds of one group and version."""
        return (k for k in self._by_path.values() if k.group == group and k.version == version)
