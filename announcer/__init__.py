"""Put an address on the wire: layer 2 (ARP) today, BGP later."""
