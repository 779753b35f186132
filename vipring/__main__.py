"""Entry point of `vipring` and `kubectl vipring`.

The resident processes are dispatched before typer and rich are imported: they never need them.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    argv = sys.argv[1:]
    if argv[:1] == ["speaker"]:
        from vipring.resident import speaker

        sys.exit(speaker(argv[1:]))
    if argv[:1] == ["controller"]:
        from vipring.resident import controller

        sys.exit(controller(argv[1:]))
    from vipring.cli import app

    app(prog_name="vipring")


if __name__ == "__main__":
    main()
