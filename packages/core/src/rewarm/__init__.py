"""Keeps caches warm and right from the task queue you already run."""
