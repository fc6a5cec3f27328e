"""Rewarm in Django."""
