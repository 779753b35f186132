"""Kubernetes objects as the lab's node agents and control loops read them; names are the API's own.

Writing goes by merge patches made from plain dicts, so that fields which are not listed here survive.
"""

from __future__ import annotations

import msgspec

from cluster.objects import ObjectMeta


class Object(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Base of the Structs here: immutable, camelCase on the wire, defaults left out when encoded."""


class OwnerReference(Object, frozen=True):
    """One entry of metadata.ownerReferences."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Meta(ObjectMeta, frozen=True):
    """metadata with what controllers need of it."""

    creation_timestamp: str = ""
    deletion_grace_period_seconds: int | None = None
    owner_references: list[OwnerReference] = msgspec.field(default_factory=list)


class LabelSelector(Object, frozen=True):
    """A selector of workloads; matchExpressions are not offered."""

    match_labels: dict[str, str] = {}


# -- pods -------------------------------------------------------------------------------------------------


class FieldRef(Object, frozen=True):
    """env valueFrom.fieldRef."""

    field_path: str = ""


class KeyRef(Object, frozen=True):
    """env valueFrom.secretKeyRef and configMapKeyRef."""

    name: str = ""
    key: str = ""
    optional: bool = False


class EnvSource(Object, frozen=True):
    """env valueFrom."""

    field_ref: FieldRef | None = None
    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None
    resource_field_ref: dict[str, object] | None = None


class EnvVar(Object, frozen=True):
    """One entry of a container's env."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class ObjectRef(Object, frozen=True):
    """envFrom secretRef and configMapRef."""

    name: str = ""
    optional: bool = False


class EnvFrom(Object, frozen=True):
    """One entry of a container's envFrom."""

    prefix: str = ""
    secret_ref: ObjectRef | None = None
    config_map_ref: ObjectRef | None = None


class ContainerPort(Object, frozen=True):
    """One entry of a container's ports."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class HttpGet(Object, frozen=True):
    """A probe's httpGet."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"


class TcpSocket(Object, frozen=True):
    """A probe's tcpSocket."""

    port: int | str
    host: str = ""


class Probe(Object, frozen=True):
    """A probe; all times in seconds. exec and grpc probes are not offered."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class VolumeMount(Object, frozen=True):
    """One entry of a container's volumeMounts."""

    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""


class Capabilities(Object, frozen=True):
    """securityContext.capabilities."""

    add: list[str] = []
    drop: list[str] = []


class SecurityContext(Object, frozen=True):
    """securityContext of a container; of a pod, with its own fields."""

    capabilities: Capabilities = Capabilities()
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool = False
    allow_privilege_escalation: bool = True
    fs_group: int | None = None


class Container(Object, frozen=True):
    """One container of a pod spec."""

    name: str
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    ports: list[ContainerPort] = []
    volume_mounts: list[VolumeMount] = []
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    security_context: SecurityContext = SecurityContext()


class KeyToPath(Object, frozen=True):
    """items of a secret or configMap volume."""

    key: str
    path: str
    mode: int | None = None


class SecretVolume(Object, frozen=True):
    """volumes[].secret."""

    secret_name: str = ""
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class ConfigMapVolume(Object, frozen=True):
    """volumes[].configMap."""

    name: str = ""
    items: list[KeyToPath] = []
    default_mode: int = 0o644
    optional: bool = False


class Volume(Object, frozen=True):
    """One entry of a pod's volumes: secret, configMap or emptyDir."""

    name: str
    secret: SecretVolume | None = None
    config_map: ConfigMapVolume | None = None
    empty_dir: dict[str, object] | None = None


class Toleration(Object, frozen=True):
    """One entry of a pod's tolerations."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class PodSpec(Object, frozen=True):
    """Pod.spec."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    node_name: str = ""
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    host_network: bool = False
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    service_account_name: str = "default"
    automount_service_account_token: bool = True
    security_context: SecurityContext = SecurityContext()
    scheduler_name: str = "default-scheduler"


class Waiting(Object, frozen=True):
    """state.waiting."""

    reason: str = ""
    message: str = ""


class Running(Object, frozen=True):
    """state.running."""

    started_at: str = ""


class Terminated(Object, frozen=True):
    """state.terminated."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str = ""
    finished_at: str = ""


class ContainerState(Object, frozen=True):
    """Exactly one of the three."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Object, frozen=True):
    """One entry of status.containerStatuses."""

    name: str
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
    ready: bool = False
    restart_count: int = 0
    image: str = ""
    container_id: str = msgspec.field(default="", name="containerID")


class Condition(Object, frozen=True):
    """One entry of status.conditions."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    last_heartbeat_time: str = ""


class PodStatus(Object, frozen=True):
    """Pod.status."""

    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    host_ip: str = msgspec.field(default="", name="hostIP")
    start_time: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []


class Pod(Object, frozen=True):
    """A v1 Pod."""

    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """Is its Ready condition True?"""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def finished(self) -> bool:
        """Has it run to its end?"""
        return self.status.phase in ("Succeeded", "Failed")


class PodTemplate(Object, frozen=True):
    """spec.template of a workload; `spec` stays raw, since it is copied into Pods whole."""

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = msgspec.Raw(b"{}")


# -- workloads --------------------------------------------------------------------------------------------


class RollingUpdate(Object, frozen=True):
    """maxUnavailable and maxSurge, numbers or percentages."""

    max_unavailable: int | str = "25%"
    max_surge: int | str = "25%"


class Strategy(Object, frozen=True):
    """strategy of a Deployment, updateStrategy of a DaemonSet."""

    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class DeploymentSpec(Object, frozen=True):
    """Deployment.spec."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    strategy: Strategy = Strategy()
    paused: bool = False


class Deployment(Object, frozen=True):
    """An apps/v1 Deployment."""

    metadata: Meta = Meta()
    spec: DeploymentSpec = DeploymentSpec()


class DaemonSetSpec(Object, frozen=True):
    """DaemonSet.spec."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    update_strategy: Strategy = Strategy()


class DaemonSet(Object, frozen=True):
    """An apps/v1 DaemonSet."""

    metadata: Meta = Meta()
    spec: DaemonSetSpec = DaemonSetSpec()


# -- nodes ------------------------------------------------------------------------------------------------


class Taint(Object, frozen=True):
    """One entry of Node.spec.taints."""

    key: str
    effect: str
    value: str = ""
    time_added: str = ""


class NodeSpec(Object, frozen=True):
    """Node.spec."""

    unschedulable: bool = False
    taints: list[Taint] = []
    pod_cidr: str = msgspec.field(default="", name="podCIDR")


class NodeStatus(Object, frozen=True):
    """Node.status."""

    conditions: list[Condition] = []


class Node(Object, frozen=True):
    """A v1 Node."""

    metadata: Meta = Meta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        """Is its Ready condition True?"""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


class LeaseSpec(Object, frozen=True):
    """Lease.spec."""

    holder_identity: str = ""
    renew_time: str = ""


class Lease(Object, frozen=True):
    """A coordination.k8s.io/v1 Lease."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


# -- services ---------------------------------------------------------------------------------------------


class ServicePort(Object, frozen=True):
    """One entry of Service.spec.ports."""

    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: int | str = 0
    node_port: int = 0


class ServiceSpec(Object, frozen=True):
    """Service.spec."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    selector: dict[str, str] = {}
    ports: list[ServicePort] = []
    external_traffic_policy: str = "Cluster"
    internal_traffic_policy: str = "Cluster"
    publish_not_ready_addresses: bool = False
    external_ips: list[str] = msgspec.field(default_factory=list, name="externalIPs")


class Ingress(Object, frozen=True):
    """One entry of status.loadBalancer.ingress."""

    ip: str = ""


class LoadBalancer(Object, frozen=True):
    """status.loadBalancer."""

    ingress: list[Ingress] = []


class ServiceStatus(Object, frozen=True):
    """Service.status."""

    load_balancer: LoadBalancer = LoadBalancer()


class Service(Object, frozen=True):
    """A v1 Service."""

    metadata: Meta = Meta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointPort(Object, frozen=True):
    """One entry of an EndpointSlice's ports."""

    port: int | None = None
    name: str | None = ""
    protocol: str = "TCP"


class EndpointConditions(Object, frozen=True):
    """Conditions of an endpoint; None counts as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Object, frozen=True):
    """One entry of an EndpointSlice's endpoints."""

    addresses: list[str] = []
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None
    target_ref: dict[str, object] | None = None


class EndpointSlice(Object, frozen=True):
    """A discovery.k8s.io/v1 EndpointSlice."""

    metadata: Meta = Meta()
    address_type: str = "IPv4"
    endpoints: list[Endpoint] | None = None
    ports: list[EndpointPort] | None = None


# -- data -------------------------------------------------------------------------------------------------


class Secret(Object, frozen=True):
    """A v1 Secret; values are decoded from base64."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, bytes] = {}


class ConfigMap(Object, frozen=True):
    """A v1 ConfigMap."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}
