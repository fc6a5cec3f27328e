"""Which locals a paused flow can still use: others must not tell its states apart.

Liveness is computed on bytecode, and is generous: what the statement around the yield uses counts in any case, as it
may wait on the evaluation stack, and so does the variable of a `for`, which tells how far its iterator has come.
"""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from types import CodeType

_ENDS = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD")


@cache
def live_locals(code: CodeType, at: int) -> tuple[str, ...]:
    """Names of the locals that may be read after the instruction at offset `at`, sorted."""
    live = _live(code)
    line = next((p.lineno for i in dis.get_instructions(code) if i.offset == at and (p := i.positions)), None)
    first, last = _statement(code, line or code.co_firstlineno)
    found = set(live[at]) | _loops(code) | {*code.co_cellvars, *code.co_freevars}
    for i in dis.get_instructions(code):
        if i.positions and i.positions.lineno and first <= i.positions.lineno <= last:
            found |= live[i.offset]
    return tuple(sorted(found))


@cache
def _live(code: CodeType) -> dict[int, frozenset[str]]:
    """For each instruction, what may be read from there on: the least fixed point, backwards."""
    instructions = list(dis.get_instructions(code))
    handlers = list(dis._parse_exception_table(code))  # type: ignore[attr-defined]
    after: dict[int, list[int]] = {}
    for i, following in zip(instructions, [*instructions[1:], None], strict=True):
        goes = [] if i.opname in _ENDS or following is None else [following.offset]
        if i.opcode in dis.hasjrel or i.opcode in dis.hasjabs:
            goes.append(i.argval)
        after[i.offset] = goes + [h.target for h in handlers if h.start <= i.offset < h.end]
    live = {i.offset: frozenset[str]() for i in instructions}
    changed = True
    while changed:
        changed = False
        for i in reversed(instructions):
            now = frozenset().union(*(live[offset] for offset in after[i.offset] if offset in live))
            if i.opname in ("STORE_FAST", "DELETE_FAST"):
                now -= {i.argval}
            elif "FAST" in i.opname:
                now |= {i.argval} if isinstance(i.argval, str) else set(i.argval)
            if now != live[i.offset]:
                live[i.offset], changed = now, True
    return live


@cache
def _tree(code: CodeType) -> tuple[int, ast.AST]:
    lines, first = inspect.getsourcelines(code)
    return first - 1, ast.parse(textwrap.dedent("".join(lines)))


def _statement(code: CodeType, line: int) -> tuple[int, int]:
    """First and last line of the innermost statement that contains a line."""
    before, tree = _tree(code)
    spans = [(n.lineno + before, (n.end_lineno or n.lineno) + before) for n in _nodes(tree) if isinstance(n, ast.stmt)]
    around = [span for span in spans if span[0] <= line <= span[1]]
    return min(around, key=lambda span: span[1] - span[0], default=(line, line))


def _loops(code: CodeType) -> set[str]:
    targets = [node.target for node in _nodes(_tree(code)[1]) if isinstance(node, ast.For)]
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    return ast.walk(tree)
