"""Every number that the README promises."""
