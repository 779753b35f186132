"""Layer 2 announcements: the ARP responder in a process of its own, gratuitous ARP, interfaces by netlink."""
