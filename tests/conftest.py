"""Hypothesis profiles: `gate` repeats the same examples every time, `hunt` looks for others and longer.

Choose with VIPRING_HYPOTHESIS. Examples are not timed: the machine may be busy.
"""

import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Generator
from typing import NoReturn

import pytest
from hypothesis import settings

settings.register_profile("gate", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("hunt", deadline=None, print_blob=True, max_examples=5000)
settings.load_profile(os.environ.get("VIPRING_HYPOTHESIS", "gate"))

_status = int(pytest.ExitCode.INTERNAL_ERROR)
_scratch: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep the files of the tests where they go with the run, unless --basetemp names another place."""
    if config.option.basetemp is None:
        _scratch.append(tempfile.mkdtemp(prefix="vipring-tests-"))
        config.option.basetemp = f"{_scratch[0]}/tests"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Let Ctrl-C end the run also where a task group has wrapped it, which pytest takes for a failed test."""
    raised = call.excinfo.value if call.excinfo is not None else None
    if isinstance(raised, BaseExceptionGroup) and raised.subgroup(KeyboardInterrupt):
        raise KeyboardInterrupt


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    global _status  # noqa: PLW0603 - pytest hands the status to this hook only
    _status = int(exitstatus)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_unconfigure() -> Generator[None]:
    """End without dismantling the interpreter.

    msgspec 0.22 sometimes crashes while its Struct types are collected at exit (msgspec/msgspec#717), which would turn a
    finished run into a segmentation fault.
    """
    if _status == pytest.ExitCode.INTERRUPTED:
        # What Ctrl-C has torn apart is no finding.
        print("stopped by KeyboardInterrupt", file=sys.stderr)
        _end(_status)
    try:
        yield
    except Exception:  # noqa: BLE001 - whatever a plugin found at the end
        traceback.print_exc()
        _end(_status or int(pytest.ExitCode.TESTS_FAILED))
    _end(_status)


def _end(status: int) -> NoReturn:
    for directory in _scratch:
        shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
