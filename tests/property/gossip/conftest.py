"""Examples are not timed: the machine may be busy."""

from hypothesis import settings

settings.register_profile("gossip", deadline=None, print_blob=True)
settings.load_profile("gossip")
