"""Flags and environment: values, defaults, and one clear line for each mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gossip.fastconfig import FastLaneConfig
from vipring.flags import FlagError, parse_controller, parse_speaker

RING = {
    "METALLB_NODE_NAME": "n1",
    "METALLB_HOST": "198.18.0.11",
    "METALLB_ML_BIND_ADDR": "198.18.0.11",
    "METALLB_ML_LABELS": "app=metallb,component=speaker",
    "METALLB_ML_NAMESPACE": "metallb-system",
}


def refused(argv: list[str], env: dict[str, str]) -> FlagError:
    with pytest.raises(FlagError) as caught:
        parse_speaker(argv, env)
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_manifest_of_metallb_v09() -> None:
    options = parse_speaker(
        ["--port=7472", "--config=config"], {**RING, "METALLB_ML_SECRET_KEY": "abc\ndef\n"}
    )
    assert (options.node_name, options.config_name, options.http_host, options.http_port) == (
        "n1",
        "config",
        "198.18.0.11",
        7472,
    )
    assert options.ring is not None
    assert options.ring.secret == b"abc\ndef\n"
    assert (options.ring.bind_address, options.ring.port, options.ring.key_size) == ("198.18.0.11", 7946, 32)
    assert (options.ring.labels, options.ring.namespace) == (
        "app=metallb,component=speaker",
        "metallb-system",
    )
    assert options.order == "current"


def test_flags_win_over_the_environment() -> None:
    options = parse_speaker(
        [
            "--node-name=n9",
            "--host=198.18.0.99",
            "--ml-bindaddr=198.18.0.19",
            "--ml-bindport=7947",
            "--ml-labels=a=b",
            "--ml-namespace=other",
            "--ml-secret-key=xyz",
            "--ring-key-size=16",
            "--order=v0.9",
        ],
        {**RING, "METALLB_ML_SECRET_KEY": "abc", "METALLB_ML_BIND_PORT": "7999"},
    )
    assert options.node_name == "n9"
    assert options.http_host == "198.18.0.99"
    assert options.order == "v0.9"
    assert options.ring is not None
    assert (options.ring.bind_address, options.ring.port, options.ring.secret, options.ring.key_size) == (
        "198.18.0.19",
        7947,
        b"xyz",
        16,
    )


def test_secret_from_a_mounted_directory_or_a_file_is_never_trimmed(tmp_path: Path) -> None:
    (tmp_path / "secretkey").write_bytes(b"  line1\nline2\n")
    for path in (tmp_path, tmp_path / "secretkey"):
        options = parse_speaker([], {**RING, "METALLB_ML_SECRET_KEY_PATH": str(path)})
        assert options.ring is not None
        assert options.ring.secret == b"  line1\nline2\n"
        assert options.ring.secret_path == str(path)
        assert options.ring.key_overlap_s == 600.0
    options = parse_speaker([f"--ml-secret-key-path={tmp_path}", "--ring-key-overlap=1h30m"], RING)
    assert options.ring is not None
    assert options.ring.key_overlap_s == 5400.0


def test_the_secret_is_not_shown_when_options_are_printed() -> None:
    assert "hidden-text" not in repr(parse_speaker([], {**RING, "METALLB_ML_SECRET_KEY": "hidden-text"}))


@pytest.mark.parametrize("missing", ["METALLB_ML_BIND_ADDR", "METALLB_ML_LABELS", "METALLB_ML_NAMESPACE"])
def test_the_ring_is_off_unless_address_labels_and_namespace_are_given(missing: str) -> None:
    env = {name: value for name, value in RING.items() if name != missing}
    options = parse_speaker([], env)
    assert options.ring is None
    (named,) = options.ring_missing
    flag = re.fullmatch(rf"{missing} \((--ml-\w+)\)", named)
    assert flag is not None
    given = parse_speaker([f"{flag[1]}=198.18.0.11", "--insecure-ring"], env)
    assert given.ring is not None
    assert given.ring_missing == ()


def test_all_that_a_ring_lacks_is_named() -> None:
    options = parse_speaker(["--ml-labels=a=b"], {"METALLB_NODE_NAME": "n1"})
    assert options.ring_missing == (
        "METALLB_ML_BIND_ADDR (--ml-bindaddr)",
        "METALLB_ML_NAMESPACE (--ml-namespace)",
    )


def test_no_node_name_is_one_line_and_status_1() -> None:
    error = refused([], {**RING, "METALLB_NODE_NAME": ""})
    assert error.status == 1
    assert "--node-name" in str(error)
    assert "METALLB_NODE_NAME" in str(error)


def test_no_secret_refuses_and_says_how_to_create_it() -> None:
    error = refused([], RING)
    assert error.status == 1
    assert "kubectl create secret generic -n metallb-system memberlist" in str(error)
    assert "--insecure-ring" in str(error)


def test_an_empty_or_absent_secret_file_refuses(tmp_path: Path) -> None:
    (tmp_path / "secretkey").write_bytes(b"")
    empty = refused([], {**RING, "METALLB_ML_SECRET_KEY_PATH": str(tmp_path)})
    assert "is empty" in str(empty)
    assert empty.status == 1
    absent = refused([f"--ml-secret-key-path={tmp_path / 'nowhere'}"], RING)
    assert "cannot be read" in str(absent)
    assert "openssl rand" in str(absent)


def test_the_settings_of_the_ring() -> None:
    options = parse_speaker(["--insecure-ring"], RING)
    assert options.ring is not None
    assert (options.ring.config_path, options.ring.config_wanted, options.ring.wan) == (
        "/etc/metallb/memberlist/config.json",
        False,
        False,
    )
    options = parse_speaker(["--insecure-ring", "--ml-config=/x.json", "--ml-wan-config"], RING)
    assert options.ring is not None
    assert (options.ring.config_path, options.ring.config_wanted, options.ring.wan) == ("/x.json", True, True)


def test_an_insecure_ring_must_be_asked_for() -> None:
    options = parse_speaker(["--insecure-ring"], RING)
    assert options.ring is not None
    assert options.ring.secret is None


@pytest.mark.parametrize(
    ("argv", "env", "words"),
    [
        (["--port=0"], {}, ["--port", "'0'", "1 to 65535"]),
        (["--port=http"], {}, ["--port", "'http'", "1 to 65535"]),
        ([], {"METALLB_ML_BIND_PORT": "70000"}, ["METALLB_ML_BIND_PORT", "70000", "1 to 65535"]),
        ([], {"METALLB_HOST": "localhost"}, ["METALLB_HOST", "not an IP address"]),
        (["--ml-bindaddr=eth0"], {}, ["--ml-bindaddr", "'eth0'", "not an IP address"]),
        (["--ring-key-size=24"], {}, ["--ring-key-size", "'24'", "16, 32"]),
        (["--ml-wan-config=maybe"], {}, ["--ml-wan-config", "'maybe'", "true, false"]),
        (["--fast-lane=yes"], {}, ["--fast-lane", "'yes'", "on, off"]),
        (["--ring-key-overlap=10"], {}, ["--ring-key-overlap", "'10'", "2s to 86400s", "1h30m"]),
        (["--ring-key-overlap=48h"], {}, ["--ring-key-overlap", "'48h'", "2s to 86400s"]),
        (["--gratuitous-rate=99"], {}, ["--gratuitous-rate", "'99'", "no number from 100 to 50000"]),
        (["--gratuitous-rate=50001"], {}, ["--gratuitous-rate", "'50001'", "no number from 100 to 50000"]),
        (["--gratuitous-rate=1e3"], {}, ["--gratuitous-rate", "'1e3'", "no number from 100 to 50000"]),
        (["--order=new"], {}, ["--order", "'new'", "current, v0.9"]),
        (["--nod-name=x"], {}, ["--nod-name=x", "unknown flag", "--help"]),
        (["--port"], {}, ["--port", "expected one argument"]),
    ],
)
def test_a_wrong_value_names_its_flag_or_variable(
    argv: list[str], env: dict[str, str], words: list[str]
) -> None:
    error = refused(argv, {**RING, "METALLB_ML_SECRET_KEY": "abc", **env})
    assert error.status == 2
    for word in words:
        assert word in str(error)


@pytest.mark.parametrize(
    ("argv", "rate"),
    [([], 10_000), (["--gratuitous-rate=100"], 100), (["--gratuitous-rate", "50000"], 50_000)],
)
def test_the_rate_of_gratuitous_frames(argv: list[str], rate: int) -> None:
    assert parse_speaker(argv, {**RING, "METALLB_ML_SECRET_KEY": "abc"}).gratuitous_per_s == rate


def test_controller_flags() -> None:
    flags = parse_controller(["--port=7473", "--config=other"], {})
    assert (flags.http_port, flags.config_name, flags.http_host) == (7473, "other", "")
    with pytest.raises(FlagError, match="--node-name=x: unknown flag"):
        parse_controller(["--node-name=x"], {})


@pytest.mark.parametrize(
    ("argv", "fast"),
    [
        ([], True),
        (["--fast-lane=off"], False),
        (["--ml-wan-config=true"], False),
        (["--ml-wan-config=true", "--fast-lane=on"], True),
    ],
)
def test_the_fast_lane_is_on_but_not_between_distant_members(argv: list[str], fast: bool) -> None:
    options = parse_speaker(argv, {**RING, "METALLB_ML_SECRET_KEY": "abc"})
    assert options.ring is not None
    assert options.ring.fast_lane == (FastLaneConfig() if fast else None)


@pytest.mark.parametrize(
    ("argv", "lane"),
    [
        (["--fast-lane-misses=3"], FastLaneConfig(misses=3)),
        (
            ["--fast-lane-pace=200ms", "--fast-lane-misses=2"],
            FastLaneConfig(pace_s=0.2, misses=2, misses_without_wire=5),
        ),
        (["--fast-lane-pace=1s"], FastLaneConfig(pace_s=1.0, misses=4, misses_without_wire=4)),
        (["--fast-lane-pace=50ms"], FastLaneConfig(pace_s=0.05, misses=4, misses_without_wire=20)),
        (["--fast-lane-pace=20ms"], FastLaneConfig(pace_s=0.02, misses=4, misses_without_wire=20)),
        (["--fast-lane-agreement=1"], FastLaneConfig(agreement=1)),
        (["--fast-lane-agreement=3"], FastLaneConfig(agreement=3)),
    ],
)
def test_the_fast_lane_takes_misses_pace_and_agreement(argv: list[str], lane: FastLaneConfig) -> None:
    options = parse_speaker(argv, {**RING, "METALLB_ML_SECRET_KEY": "abc"})
    assert options.ring is not None
    assert options.ring.fast_lane == lane


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--fast-lane-misses=1", "--fast-lane-misses: '1' is no number from 2 to 20"),
        ("--fast-lane-misses=x", "--fast-lane-misses: 'x' is no number from 2 to 20"),
        ("--fast-lane-agreement=0", "--fast-lane-agreement: '0' is no number from 1 to 3"),
        ("--fast-lane-agreement=4", "--fast-lane-agreement: '4' is no number from 1 to 3"),
        ("--fast-lane-pace=2s", "--fast-lane-pace: '2s' is no duration from 0.02s to 1s"),
    ],
)
def test_a_fast_lane_out_of_bounds_is_refused(flag: str, complaint: str) -> None:
    with pytest.raises(FlagError, match=complaint):
        parse_speaker([flag], {**RING, "METALLB_ML_SECRET_KEY": "abc"})
