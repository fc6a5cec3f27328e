"""SMOKE: nothing else is worth trying before this holds."""

from ..bed import judge
from ..lab import Lab
from ..plugin import check


@check("SMOKE-01")
def test_smoke_01(lab: Lab) -> None:
    lab.told = True
    judge(lab.try_smoke())
