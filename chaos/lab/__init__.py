"""A cluster in a box: real processes in network namespaces around one API server."""
