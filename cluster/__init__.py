"""What Kubernetes says: API client, list and watch, typed objects, configuration."""
