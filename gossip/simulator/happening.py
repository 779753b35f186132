"""What members tell, as a transcript shows it."""

from dataclasses import dataclass

from gossip.outputs import (
    CloseStream,
    ExchangeEnded,
    LeaveDone,
    MemberAlive,
    MemberDead,
    MemberDoubtful,
    MemberJoined,
    MemberLeft,
    MemberSuspect,
    MemberUpdated,
    OpenStream,
    Output,
    PeerRejected,
    PingPayload,
    Refuted,
    RemoteState,
    SendDatagram,
    UserMessage,
    WriteStream,
)


@dataclass(frozen=True, slots=True)
class Happening:
    """One output worth telling: when (simulated seconds since the start), at which member, what."""

    at: float
    member: str
    what: Output

    def line(self) -> str:
        """The happening as one line of a transcript."""
        return f"{self.at:.6f} {self.member} {describe(self.what)}"


def describe(output: Output) -> str:
    """One output in a few words, as the transcript shows it."""
    match output:
        case MemberJoined(view) | MemberAlive(view) | MemberLeft(view) | MemberUpdated(view):
            return f"{type(output).__name__} {view.name} incarnation={view.incarnation}"
        case MemberSuspect(view, by) | MemberDead(view, by):
            return f"{type(output).__name__} {view.name} incarnation={view.incarnation} by={by}"
        case MemberDoubtful(view, misses):
            return f"MemberDoubtful {view.name} misses={misses}"
        case Refuted(incarnation, accuser):
            return f"Refuted incarnation={incarnation} accuser={accuser}"
        case PeerRejected(source, reason, detail):
            return f"PeerRejected {source.text} {reason} {detail}"
        case ExchangeEnded(_, to, purpose, error):
            return f"ExchangeEnded {purpose} {to.text} {error or 'done'}"
        case LeaveDone():
            return "LeaveDone"
        case UserMessage(source, payload) | RemoteState(source, payload):
            return f"{type(output).__name__} {source.text} bytes={len(payload)}"
        case PingPayload(member, _, payload):
            return f"PingPayload {member} bytes={len(payload)}"
        case SendDatagram() | OpenStream() | WriteStream() | CloseStream():
            return type(output).__name__
