"""Rewarm on Celery."""
