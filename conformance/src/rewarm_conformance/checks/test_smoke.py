"""SMOKE: nothing else is worth trying before this holds."""

from ..bed import Lab, judge
from ..plugin import check


@check("SMOKE-01")
def test_smoke_01(lab: Lab) -> None:
    judge(lab.try_smoke())
