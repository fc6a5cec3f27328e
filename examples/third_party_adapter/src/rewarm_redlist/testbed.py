"""redlist as the conformance suite sees it."""

import sys

from redlist import Redlist
from rewarm_conformance.testbed import Testbed

from . import RedlistAdapter


class RedlistTestbed(Testbed):
    broker, redelivery_seconds, eager_switch = "redis", 5.0, False

    def build(self, namespace):
        queue = Redlist(self.url, namespace, lease=2.0)
        return queue, RedlistAdapter(queue)

    def worker(self, namespace, queue=None):
        return [sys.executable, "-m", "redlist", "rewarm_conformance.probe:native", queue or namespace]
