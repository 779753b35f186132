"""The Deployment process: a simple allocator that writes status.loadBalancer."""
