"""The file that a measurement leaves: its facts, headed by the commit that was measured. And how a page shows them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from chaos import revision

ROOT: Final = Path(__file__).parent.parent


def commit() -> str:
    """The commit of this checkout. To be asked before a long measurement, during which it may change."""
    return revision.commit(ROOT)


def write(file: Path, measured: str, facts: Mapping[str, object]) -> None:
    """Write the facts of the commit `measured` as JSON."""
    file.write_text(json.dumps({"commit": measured, **facts}, indent=2) + "\n")


def between(page: str, begin: str, end: str, text: str) -> str:
    """The page with other text between two marks."""
    head, _, rest = page.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{text}\n\n{end}{tail}"
