"""The DaemonSet process: gossip, election and announcer wired to what Kubernetes says."""
