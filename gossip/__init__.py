"""Who is alive: a SWIM ring on the wire of hashicorp/memberlist. Knows nothing of Kubernetes."""
