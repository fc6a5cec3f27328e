"""`python -m redlist module:attribute [queue]`: a worker."""

import importlib
import signal
import sys
import threading

module, _, attribute = sys.argv[1].partition(":")
redlist = getattr(importlib.import_module(module), attribute)
queue = sys.argv[2] if len(sys.argv) > 2 else redlist.name
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
threads = [threading.Thread(target=redlist.work, args=(queue, stopping)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    while thread.is_alive():
        thread.join(0.5)  # a signal may go to another thread; its handler runs when this one looks up
