"""The keys that the second application accepts: the one it signs with, and the one before."""

KEYS = ("a key of sixteen bytes and more", "the key before, still accepted")
