"""Measurements of this project's code against what it replaces."""
