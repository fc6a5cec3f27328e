"""What a worker that knows no application imports: the testbed's queue, with an entry that looks for applications."""

import os

from ..reference import named
from ..testbed import Setting

testbed = named(os.environ["REWARM_TESTBED"])(Setting.loads(os.environ["REWARM_SETTING"]))
native, adapter = testbed.build(os.environ["REWARM_NAMESPACE"])
adapter.install()
