"""Claims on a simulated segment."""
