"""Hypothesis profiles: `gate` repeats the same examples every time, `hunt` looks for others and longer.

Choose with VIPRING_HYPOTHESIS. Examples are not timed: the machine may be busy.
"""

import os

from hypothesis import settings

settings.register_profile("gate", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("hunt", deadline=None, print_blob=True, max_examples=5000)
settings.load_profile(os.environ.get("VIPRING_HYPOTHESIS", "gate"))
