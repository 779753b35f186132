"""What containers run with."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chaos.lab import podplan
from chaos.lab.images import Image, find_image
from chaos.lab.objects import ConfigMap, Container, Pod, Secret, Volume
from chaos.lab.podplan import File, NotYet, Sources
from chaos.lab.volumes import VolumeStore
from tests.unit.chaos.lab import build

SOURCES = Sources(
    {"s": Secret(data={"key": b"hush", "other": b"x"})},
    {"m": ConfigMap(data={"a": "1"}, binary_data={"b": b"\xff"})},
)


def variables(*env: dict[str, object], **container: object) -> dict[str, str]:
    pod = build.pod("web-1", node="n2", labels={"app": "web"})
    made = msgspec.convert({"name": "c", "env": list(env), **container}, Container)
    image = Image(environment={"FROM": "image"})
    return podplan.environment(
        pod, made, image, SOURCES, pod_ip="198.19.66.2", host_ip="198.18.0.12", api=("198.19.0.1", 6443)
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-1"),
        ("metadata.namespace", "default"),
        ("spec.nodeName", "n2"),
        ("status.podIP", "198.19.66.2"),
        ("status.hostIP", "198.18.0.12"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['none']", ""),
    ],
)
def test_field_references(path: str, value: str) -> None:
    assert variables({"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}})["V"] == value


def test_values_refer_to_those_before_them() -> None:
    found = variables({"name": "A", "value": "x"}, {"name": "B", "value": "$(A)-$(NONE)-$$(A)"})
    assert found["B"] == "x-$(NONE)-$(A)"


def test_the_api_server_and_the_image_are_in_the_environment() -> None:
    found = variables()
    assert found["KUBERNETES_SERVICE_HOST"] == "198.19.0.1"
    assert found["KUBERNETES_SERVICE_PORT"] == "6443"
    assert found["FROM"] == "image"
    assert found["HOSTNAME"] == "web-1"


def test_secrets_and_config_maps_give_values() -> None:
    found = variables(
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a"}}},
        {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k", "optional": True}}},
        envFrom=[{"prefix": "P_", "secretRef": {"name": "s"}}],
    )
    assert (found["S"], found["M"], found["P_other"]) == ("hush", "1", "x")
    assert "NO" not in found


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"secretKeyRef": {"name": "s", "key": "k"}}, "couldn't find key k in secret s"),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"fieldRef": {"fieldPath": "spec.x"}}, "env V: unsupported fieldPath: spec.x"),
    ],
)
def test_what_is_missing_keeps_the_container_waiting(reference: dict[str, object], message: str) -> None:
    with pytest.raises(NotYet) as caught:
        variables({"name": "V", "valueFrom": reference})
    assert caught.value.reason == "CreateContainerConfigError"
    assert caught.value.message == message


def volume(**source: object) -> list[File] | None:
    return podplan.volume_files(msgspec.convert({"name": "v", **source}, Volume), SOURCES)


def test_volumes_hold_files_with_their_modes() -> None:
    assert volume(secret={"secretName": "s", "defaultMode": 0o400}) == [
        File("key", b"hush", 0o400),
        File("other", b"x", 0o400),
    ]
    assert volume(configMap={"name": "m", "items": [{"key": "b", "path": "d/e", "mode": 0o600}]}) == [
        File("d/e", b"\xff", 0o600)
    ]
    assert volume(secret={"secretName": "none", "optional": True}) == []
    assert volume(emptyDir={}) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "m", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent key: z",
        ),
        ({"hostPath": {"path": "/"}}, 'volume "v": the lab has secret, configMap and emptyDir volumes only'),
    ],
)
def test_volumes_that_cannot_be_made(source: dict[str, object], message: str) -> None:
    with pytest.raises(NotYet) as caught:
        volume(**source)
    assert caught.value.message == message


def test_a_key_cannot_leave_its_volume(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path / "pod", None)
    store.put("v", [File("../../outside", b"x", 0o644), File("d/inside", b"y", 0o640)])
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "pod" / "outside").exists()
    inside = tmp_path / "pod" / "v" / "d" / "inside"
    assert inside.read_bytes() == b"y"
    assert inside.stat().st_mode & 0o777 == 0o640


def test_a_volume_follows_its_source(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path, None)
    directory = store.put("v", [File("a", b"1", 0o600), File("b", b"1", 0o600)])
    kept = (directory / "a").stat().st_ino
    store.put("v", [File("a", b"1", 0o600), File("c", b"2", 0o600)])
    assert sorted(p.name for p in directory.iterdir()) == ["a", "c"]
    assert (directory / "a").stat().st_ino == kept, "what did not change is not written"
    store.put("v", [File("a", b"2", 0o600)])
    assert (directory / "a").read_bytes() == b"2"


def test_an_empty_dir_keeps_what_is_in_it(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path, None)
    (store.put("e", None) / "mine").write_text("x")
    assert [p.name for p in store.put("e", None).iterdir()] == ["mine"]


def test_a_pod_names_what_it_needs() -> None:
    pod = build.pod(
        volumes=[{"name": "v", "secret": {"secretName": "s1"}}, {"name": "w", "configMap": {"name": "m1"}}],
        containers=[
            {
                "name": "c",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "m2"}}],
            }
        ],
    )
    assert podplan.named_sources(pod) == ({"s1", "s2"}, {"m1", "m2"})


def context(**fields: object) -> Container:
    return msgspec.convert({"name": "c", "securityContext": fields}, Container)


def test_capabilities() -> None:
    assert podplan.capabilities(context(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]})) == {"NET_RAW"}
    assert podplan.capabilities(context()) == podplan.DEFAULT_CAPABILITIES
    assert "SYS_ADMIN" in podplan.capabilities(context(privileged=True))
    assert "CHOWN" not in podplan.capabilities(context(capabilities={"drop": ["CAP_CHOWN"]}))
    with pytest.raises(NotYet, match="unknown capability: FLY"):
        podplan.capabilities(context(capabilities={"add": ["FLY"]}))


def test_users() -> None:
    common: Pod = build.pod(securityContext={"runAsUser": 65534, "runAsGroup": 65533, "fsGroup": 7})
    assert podplan.user(common, context()) == podplan.User(65534, 65533, 7)
    assert podplan.user(common, context(runAsUser=5)) == podplan.User(5, 65533, 7)
    with pytest.raises(NotYet, match="image will run as root"):
        podplan.user(build.pod(), context(runAsNonRoot=True))


def test_images() -> None:
    own = find_image("vipring/vipring:v0.1.0")
    assert own is not None
    assert own.command([], ["speaker"])[-3:] == ["-m", "vipring", "speaker"]
    assert own.command(["/bin/true"], ["x"]) == ["/bin/true", "x"]
    assert find_image("registry.example/unknown:1") is None
