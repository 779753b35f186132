"""The one exception family of chaos."""


class ChaosError(Exception):
    """A scenario, the demo or a measurement could not be carried out; the text is one line for the user."""


class MeasurementError(ChaosError):
    """A record does not hold what a figure needs (no answer before the fault, none after it …)."""
