"""Entry point of `vipring` and `kubectl vipring`."""


def main() -> None:
    """Run the command line."""
    raise SystemExit("not wired yet")


if __name__ == "__main__":
    main()
