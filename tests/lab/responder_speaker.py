"""A process in the place of the speaker: forks the responder first, then does what it reads on stdin.

Input and output are JSON, one value a line: a list of addresses in is the whole table; out come the responder's pid first and
then its events as [kind, fields...]. Renews the lease as the speaker does.
"""

from announcer.errors import AnnouncerError
from announcer.layer2.handle import Responder

if __name__ == "__main__":
    try:
        responder = Responder.fork(exclude=["^hidden"])
    except AnnouncerError as error:
        raise SystemExit(f"error: {error}") from None

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
    while True:
        ready, _, _ = select.select([responder, sys.stdin], [], [], 0.25)
        responder.renew()
        events = responder.events()
        for event in events:
            tell(event)
        if any(isinstance(event, Exited) for event in events):
            break
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                break
            responder.announce([IPv4Address(address) for address in json.loads(line)])
    responder.close()
