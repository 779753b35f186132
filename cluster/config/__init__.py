"""The v0.9 ConfigMap, parsed and validated into one Config."""
