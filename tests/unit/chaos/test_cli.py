"""The command line of chaos: listing, wrong usage. No lab is started."""

import subprocess
import sys

import pytest

from chaos import demo
from chaos.__main__ import main
from chaos.scenarios import SCENARIOS


def test_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    assert {"power-off", "hang-responder", "ring-cut-all", "api-down-long"} <= SCENARIOS.keys()
    assert all(SCENARIOS[line.split()[0]].summary in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "power-of"], "power-off"),
        (["run", "power-off", "--nodes", "1"], "argument --nodes: allowed are 2 to 60, not '1'"),
        (["run", "power-off", "--repeat", "x"], "argument --repeat: allowed are 1 to 1000, not 'x'"),
        (["run", "power-off", "--services", "0"], "argument --services: allowed are 1 to 250, not '0'"),
        ([], "command"),
    ],
)
def test_wrong_usage_names_the_option_and_what_is_allowed(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("command", [main, demo.main])
def test_help_has_examples(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command(["--help"])  # type: ignore[operator]
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_python_m_chaos_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chaos", "list"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "power-off" in done.stdout
