"""What goes into a lab: the shipped manifests with addresses of the lab."""

import base64

import msgspec
import yaml

from chaos import install
from cluster.config.configmap import parse_config


def test_pool_config_is_the_shipped_example_with_other_addresses() -> None:
    shipped = yaml.safe_load(install.manifest("example-config.yaml").read_text())
    (rendered,) = install.documents(install.pool_config("198.18.1.0/24"))
    assert rendered["metadata"] == shipped["metadata"]
    config = parse_config(str(yaml.safe_load(install.pool_config("198.18.1.0/24"))["data"]["config"]))
    (pool,) = config.pools
    assert [str(network) for network in pool.networks] == ["198.18.1.0/24"]
    assert pool.protocol == "layer2"


def test_the_manifests_are_found_and_name_what_chaos_asks_for() -> None:
    kinds = {
        (str(one["kind"]), str(msgspec.to_builtins(one["metadata"])["name"]))
        for one in install.documents(install.manifest("vipring.yaml").read_text())
    }
    assert {("DaemonSet", "speaker"), ("Deployment", "controller")} <= kinds
    (namespace,) = install.documents(install.manifest("namespace.yaml").read_text())
    assert msgspec.to_builtins(namespace["metadata"])["name"] == install.NAMESPACE


def test_the_key_has_128_bytes_as_the_guide_says() -> None:
    assert len(base64.b64decode(install.random_key())) == 128
    assert install.random_key() != install.random_key()


def test_every_echo_service_selects_the_pods_of_all_nodes() -> None:
    objects = install.echo_objects(["n1", "n2"], {"a": None, "b": None, "c": "198.18.4.7"})
    assert [one["kind"] for one in objects] == ["Pod", "Pod", "Service", "Service", "Service"]
    for pod, node in zip(objects[:2], ("n1", "n2"), strict=True):
        assert msgspec.to_builtins(pod["spec"])["nodeName"] == node
        for service in objects[2:]:
            selector = msgspec.to_builtins(service["spec"])["selector"]
            assert selector.items() <= msgspec.to_builtins(pod["metadata"])["labels"].items()


def test_speakers_take_further_flags() -> None:
    def args(text: str) -> list[str]:
        (daemons,) = (one for one in yaml.safe_load_all(text) if one and one["kind"] == "DaemonSet")
        found: list[str] = daemons["spec"]["template"]["spec"]["containers"][0]["args"]
        return found

    command, *rest = args(install.vipring())
    assert args(install.vipring(["--fast-lane-misses=3"])) == [command, "--fast-lane-misses=3", *rest]
