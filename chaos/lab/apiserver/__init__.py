"""The embedded Kubernetes API server of the lab."""
