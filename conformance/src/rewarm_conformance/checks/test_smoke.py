"""SMOKE: nothing else is worth trying before this holds."""

from ..bed import Lab, judge
from ..plugin import check


@check("SMOKE-01")
def test_smoke_01(lab: Lab) -> None:
    broken = lab.try_smoke()
    if broken is not None and lab.kept is not None:
        log = lab.kept.workers[-1].tail()
        broken = broken._replace(seen=f"{broken.seen}\nThe testbed is wrong, not the adapter. The worker's log:\n{log}")
    judge(broken)
