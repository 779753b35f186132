"""Tests of election."""
