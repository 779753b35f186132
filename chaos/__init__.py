"""Break a real cluster on purpose and measure what a client notices."""
