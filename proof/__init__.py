"""Every interleaving of small cases of the freshness protocol, explored: see docs/proof.md."""
