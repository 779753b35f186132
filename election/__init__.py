"""Who announces what: pure functions from services, nodes and live members to rankings with reasons."""
