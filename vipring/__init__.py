"""vipring: the command line and the entry of both resident processes."""

__version__ = "0.1.0"
