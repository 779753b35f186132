"""What is known of one watched member since its last sign of life."""

from enum import StrEnum

_NEVER = float("-inf")


class WireAnswer(StrEnum):
    """What a question on the wire (ARP, NDP) said of a member."""

    ANSWERED = "answered"
    """A signed answer came: the member's machine lives, whatever its ring does."""
    SILENT = "silent"
    """It was asked and nothing came."""
    NO_WIRE = "no-wire"
    """It could not be asked: no common segment, or nobody there signs."""


class Watch:
    """One watched member; times are monotonic seconds."""

    __slots__ = (
        "accused",
        "accusers",
        "asked_at",
        "doubted_at",
        "heard_at",
        "misses",
        "name",
        "silent_since",
        "unproven",
        "wire",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked_at = _NEVER
        """When the latest question went out."""
        self.heard_at = _NEVER
        """When the latest answer to a question of ours came."""
        self.accusers: dict[str, float] = {}
        """Others that tried the member themselves and accuse it, each with the time of its word."""
        self.misses = 0
        """Answers missed in a row, counted anew when somebody else vouches for the member."""
        self.doubted_at: float | None = None
        """When the first answer since the last sign of life was missed."""
        self.silent_since = _NEVER
        """When the first question without an answer went out."""
        self.wire = WireAnswer.NO_WIRE
        """What the wire said since the doubt began."""
        self.accused = False
        """Whether this node accuses the member."""
        self.unproven = False
        """Whether an accusation was held back because our own link is not proven."""

    @property
    def unanswered(self) -> bool:
        """Whether the latest question has no answer yet."""
        return self.heard_at < self.asked_at

    @property
    def doubtful(self) -> bool:
        """Whether an answer was missed since the last sign of life."""
        return self.doubted_at is not None

    def answered(self, now: float) -> float | None:
        """The member answered us; seconds of the silence that ended, None if there was none."""
        self.heard_at = now
        self.accusers.clear()
        silence = None if self.doubted_at is None else now - self.silent_since
        self.misses = 0
        self.doubted_at = None
        self.wire = WireAnswer.NO_WIRE
        self.accused = self.unproven = False
        return silence

    def missed(self, now: float) -> None:
        """The latest question got no answer in time."""
        if self.doubted_at is None:
            self.doubted_at = now
            self.silent_since = self.asked_at
        self.misses += 1

    def vouched(self) -> None:
        """Somebody else had a sign of life: the count begins anew, the silence towards us goes on."""
        self.misses = 0
        self.accused = False
