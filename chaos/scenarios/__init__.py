"""The scenarios that chaos runs."""
