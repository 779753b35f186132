"""What Kubernetes says, fed to the decider: one list and watch a kind, and the rule for configurations."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Never, TypeVar

import anyio
import structlog

from cluster.client import ApiClient
from cluster.config.configmap import config_of
from cluster.config.model import Config
from cluster.errors import ConfigError
from cluster.objects import ConfigMap, EndpointSlice, Node, Pod, Service
from cluster.reflector import Reflector
from cluster.watch import Change, Deleted, ObjectSkipped, Recovered, Synced, Trouble, Upserted
from cluster.wire import KubeObject
from speaker.options import SpeakerOptions
from speaker.state import SpeakerState

T = TypeVar("T", bound=KubeObject)

log = structlog.get_logger()


class KubernetesFeed:
    """Watches what a speaker needs. Changes go through `put` to the decision loop, which alone touches the state's
    decider; `looked` is set there once everything was read."""

    def __init__(
        self,
        *,
        options: SpeakerOptions,
        state: SpeakerState,
        rng: random.Random,
        put: Callable[[Callable[[], None]], None],
    ) -> None:
        self._options = options
        self._state = state
        self._rng = rng
        self._put = put
        self._refused: Config | None = None
        self.looked = anyio.Event()

    def watches(self, client: ApiClient) -> list[Callable[[], Coroutine[object, object, Never]]]:
        """One task a kind, each to be run until cancelled."""
        options = self._options
        namespace = options.namespace or client.namespace
        reflect = partial(self._reflection, client)
        made = [
            reflect("services", "/api/v1/services", Service, self._service),
            reflect("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices", EndpointSlice, self._slice),
            reflect("nodes", "/api/v1/nodes", Node, self._node),
            reflect(
                "configmaps",
                f"/api/v1/namespaces/{namespace}/configmaps",
                ConfigMap,
                self._config_map,
                field_selector=f"metadata.name={options.config_name}",
            ),
        ]
        if options.ring is not None:
            path = f"/api/v1/namespaces/{options.ring.namespace}/pods"
            made.append(reflect("pods", path, Pod, self._pod, label_selector=options.ring.labels))
        return made

    def _reflection(
        self,
        client: ApiClient,
        kind: str,
        path: str,
        item: type[T],
        handle: Callable[[Upserted[T] | Deleted[T]], None],
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Callable[[], Coroutine[object, object, Never]]:
        reflector = Reflector(
            client,
            path,
            item,
            label_selector=label_selector,
            field_selector=field_selector,
            rng=self._rng,
            on_trouble=lambda trouble: self._trouble(kind, trouble),
        )
        self._state.awaited |= {kind}

        def changed(change: Change[T]) -> None:
            if isinstance(change, Synced):
                self._put(partial(self._synced, kind))
            else:
                self._put(partial(self._processed, partial(handle, change)))

        return partial(reflector.run, changed)

    def _processed(self, handle: Callable[[], None]) -> None:
        self._state.updates += 1
        handle()

    def _trouble(self, kind: str, trouble: Trouble | Recovered | ObjectSkipped) -> None:
        match trouble:
            case Trouble():
                if kind not in self._state.api_errors:
                    log.warning("apiTrouble", kind=kind, error=trouble.error)
                self._state.api_errors[kind] = trouble.error
            case Recovered():
                if self._state.api_errors.pop(kind, None) is not None:
                    log.info("apiRecovered", kind=kind)
            case ObjectSkipped():
                self._state.update_errors += 1
                log.warning("objectSkipped", kind=kind, error=trouble.error)

    def _synced(self, kind: str) -> None:
        self._state.synced.add(kind)
        if self._state.looked() and not self.looked.is_set():
            log.info("stateSynced", services=len(self._state.decider.services))
            if self._state.decider.config is None and not self._state.config_stale:
                log.warning("noConfig", configmap=self._options.config_name)
            self.looked.set()

    def _service(self, change: Upserted[Service] | Deleted[Service]) -> None:
        if isinstance(change, Deleted):
            self._state.decider.remove_service(change.obj.metadata.key)
        else:
            self._state.decider.set_service(change.obj)

    def _slice(self, change: Upserted[EndpointSlice] | Deleted[EndpointSlice]) -> None:
        if isinstance(change, Deleted):
            self._state.decider.remove_slice(change.obj)
        else:
            self._state.decider.set_slice(change.obj, change.old)

    def _node(self, change: Upserted[Node] | Deleted[Node]) -> None:
        if isinstance(change, Deleted):
            self._state.decider.remove_node(change.obj.metadata.name)
            self._state.node_gone(change.obj.metadata.name)
        else:
            self._state.decider.set_node(change.obj)

    def _pod(self, change: Upserted[Pod] | Deleted[Pod]) -> None:
        if isinstance(change, Deleted):
            self._state.peers.remove_pod(change.obj.metadata.name)
        else:
            self._state.peers.set_pod(change.obj)

    def _config_map(self, change: Upserted[ConfigMap] | Deleted[ConfigMap]) -> None:
        self._refused = None
        if isinstance(change, Deleted):
            self._config_refused("the ConfigMap was deleted")
            return
        try:
            config = config_of(change.obj)
        except ConfigError as error:
            self._config_refused(str(error))
            return
        homeless = self._homeless(config)
        if homeless is not None:
            self._refused = config
            self._config_refused(f"announced address {homeless} would be in no pool")
            return
        self._accept(config)

    def retry_config(self) -> None:
        """Something is announced no more: a configuration refused for it may be in order now."""
        if self._refused is not None and self._homeless(self._refused) is None:
            self._accept(self._refused)

    def _homeless(self, config: Config) -> IPv4Address | IPv6Address | None:
        return self._state.decider.unpooled(config, self._state.announced.addresses())

    def _accept(self, config: Config) -> None:
        self._refused = None
        self._state.decider.set_config(config)
        self._state.config_stale, self._state.config_error = False, None
        log.info(
            "configLoaded", configmap=self._options.config_name, pools=[pool.name for pool in config.pools]
        )

    def _config_refused(self, error: str) -> None:
        self._state.config_stale, self._state.config_error = True, error
        self._state.update_errors += 1
        log.error("configStale", configmap=self._options.config_name, error=error)
