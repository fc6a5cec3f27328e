"""Takes the download addresses out of uv.lock: a git clean filter, from stdin to stdout.

What stays are names, versions and the dependency graph. Without the members' own metadata uv resolves again,
prefers every version the lock names, and writes the full file against whichever index is configured.
"""

import re
import sys

lock = sys.stdin.buffer.read().decode()
lock = re.sub(r"^sdist = .*\n", "", lock, flags=re.M)
lock = re.sub(r"^wheels = \[\n(?:    .*\n)*\]\n", "", lock, flags=re.M)
lock = re.sub(r'registry = "[^"]*"', 'registry = "."', lock)
lock = re.sub(r"^\[package\.metadata(?:\.[\w-]+)?\]\n(?:[^\[\n].*\n)*\n?", "", lock, flags=re.M)
sys.stdout.buffer.write(lock.encode())
