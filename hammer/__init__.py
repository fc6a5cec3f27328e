"""`make hammer`: readers, writers and slow loads on real stores and through real queues, and on other caches."""
