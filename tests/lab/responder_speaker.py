"""A process in the place of the speaker: forks the responder first, then does what it reads on stdin.

Input and output are JSON, one value a line: a list of addresses in is the whole table, a text the member that this is; out come
the responder's pid first and then its events as [kind, fields...]. Renews the lease as the speaker does.
"""

from announcer.errors import AnnouncerError
from announcer.layer2.launch import launch, require_raw_sockets

if __name__ == "__main__":
    try:
        responder = launch(["^hidden"])
        require_raw_sockets()
    except AnnouncerError as error:
        raise SystemExit(f"error: {error}") from None

    import io
    import json
    import select
    import sys
    from ipaddress import IPv4Address

    from announcer.layer2.messages import Counters, Exited, InterfacesChanged, ResponderEvent

    def tell(event: ResponderEvent) -> None:
        fields: list[object]
        match event:
            case InterfacesChanged(interfaces):
                fields = [[[view.name, view.mac.hex(":")] for view in interfaces]]
            case Counters(addresses, drops):
                fields = [{str(address): counted for address, counted in addresses.items()}, drops]
            case _:
                fields = list(event)
        print(json.dumps([type(event).__name__, *fields], default=str), flush=True)

    print(json.dumps(responder.pid), flush=True)
    # Unbuffered: of two lines at once the second must not wait where select does not see it.
    lines = io.FileIO(sys.stdin.fileno(), closefd=False)
    while True:
        ready, _, _ = select.select([responder.fileno(), lines.fileno()], [], [], 0.25)
        responder.renew()
        events = responder.events()
        for event in events:
            tell(event)
        if any(isinstance(event, Exited) for event in events):
            break
        if lines.fileno() in ready:
            line = lines.readline()
            if not line:
                break
            said = json.loads(line)
            if isinstance(said, str):
                responder.introduce(said, [])
            else:
                responder.announce([IPv4Address(address) for address in said])
    responder.close()
