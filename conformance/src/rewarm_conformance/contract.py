"""docs/contract.md, made from the table of rules: `python -m rewarm_conformance.contract > docs/contract.md`."""

from __future__ import annotations

from .report import MEANINGS
from .rules import PROFILES, RULES, in_profile
from .store_rules import STORE_RULES

HEAD = """\
# The contract of an adapter

What a queue must do for Rewarm, as numbered rules. Each one is a check of `rewarm-conformance`, and each check is
itself proved by a broken adapter on which it fails. A number that is retired is never used again. Made by
`python -m rewarm_conformance.contract`.

"Runs" and "starts" mean: the job's function starts in a worker. *Needs* names the capabilities without which a rule
is not demanded; a check whose capability is not declared runs all the same, and must fail.

```sh
pip install rewarm-conformance
rewarm-conformance --testbed my_pkg.testbed:MyTestbed -n auto
pytest --pyargs rewarm_conformance --rewarm-testbed my_pkg.testbed:MyTestbed -n auto     # the same
rewarm-conformance --testbed my_pkg.testbed:MyTestbed --check RETRY-03
rewarm-conformance --list
```

`rewarm_conformance.Testbed` is the one class that an adapter's author writes; its docstring shows one.
Servers are started by the suite, on ports of their own. A missing one is a skip with its reason, and a failure where
`REWARM_REQUIRE_SERVICES` names it or with `--strict`. `REWARM_PATIENCE` multiplies deadlines and, above 1, pauses.

## Verdicts
"""
PROFILE_TEXT = """
## Profiles

{profiles}; each contains those before it.
A profile is *conformant* when every one of its checks passed, *failed* when any is fail, undeclared or error, and
*partial* otherwise.
"""
STORES = """\
Stores are proved the same way: `rewarm-conformance --store my_pkg:make_store`, where `make_store()` gives a new
`rewarm.stores.Store`.
"""
TITLES = {
    "core": "Core: every queue",
    "durable": "Durable: nothing is lost by a crash",
    "full": "Full: depth, order and load",
}


def contract() -> str:
    """The page."""
    lines = [HEAD, "| verdict | meaning |", "|---|---|"]
    lines += [f"| {verdict} | {meaning} |" for verdict, meaning in MEANINGS.items()]
    sizes = [f"**{name}** ({sum(in_profile(rule, name) for rule in RULES.values())} checks)" for name in PROFILES]
    lines.append(PROFILE_TEXT.format(profiles=", ".join(sizes)))
    for profile in PROFILES:
        lines.append(f"## {TITLES[profile]}\n")
        for rule in RULES.values():
            if rule.profile == profile:
                needs = f" *Needs {', '.join(need.name for need in rule.requires)}.*" if rule.requires else ""
                causes = rule.causes
                lines.append(f"### {rule.id}\n\n**{rule.sentence}**{needs}\n\nUsual causes of a failure: {causes}.\n")
    lines += ["## Stores\n", STORES]
    lines += [f"- **{rule.id}** {rule.sentence}" for rule in STORE_RULES.values()]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    print(contract(), end="")
