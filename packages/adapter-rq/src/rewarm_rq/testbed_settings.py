"""Django's settings for the testbed of django-rq: every name is a queue on the suite's Redis."""

import os
from typing import Any


class EveryName(dict[str, dict[str, Any]]):
    def __missing__(self, name: str) -> dict[str, Any]:
        return {"URL": os.environ["REWARM_TESTBED_URL"]}


SECRET_KEY = "testbed"
INSTALLED_APPS = ["django_rq"]
RQ_QUEUES = EveryName()
