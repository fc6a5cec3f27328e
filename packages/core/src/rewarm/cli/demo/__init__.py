"""`rewarm demo`: a slow source, readers and writes; Rewarm and the usual hand-written cache side by side."""
