"""PAYLOAD: what is sent arrives, unchanged, and what cannot be understood is kept."""

from rewarm import ArgumentError

from .. import checkers
from ..bed import Bed, judge, new_token
from ..plugin import check
from ..probe import ProbeError, tell
from ..second_keys import KEYS

VALUES = [
    {"a": [1, {"b": [None, True, False, 1.5, -0.0]}], "": {}}, "grüße \U0001f408 \u2028 \u0000", 2**63, None,
    "x" * 65_536, [], [[[[]]]], {"nested": {"$uuid": "not a uuid"}},
]  # fmt: skip


@check("PAYLOAD-01")
def test_payload_01(warm: Bed) -> None:
    sent = [(warm.send("echo", value).token, value) for value in VALUES]
    history = warm.started(*(token for token, _ in sent))
    judge(checkers.ran_once(history, [token for token, _ in sent]))
    for token, value in sent:
        (start,) = checkers.of(history, "start", token)
        judge(checkers.same("the value arrives", tell(value), start.data["value"]))


@check("PAYLOAD-02")
def test_payload_02(warm: Bed) -> None:
    token, carried = new_token(), {"x_tenant": {"id": 7, "list": [1, None]}}
    warm.post(warm.task("fails", token, 1, 0.0), **carried)
    history = warm.started(token, times=2)
    judge(
        checkers.attempts(history, token, [1, 2]),
        checkers.same(
            "fields that the core does not know", carried, checkers.of(history, "start", token)[-1].data["rest"]
        ),
    )


@check("PAYLOAD-03")
def test_payload_03(warm: Bed) -> None:
    tokens = [new_token(), new_token()]
    first, last = (warm.task("ok", token) for token in tokens)
    warm.post(first, v=99)
    warm.post(last, v=99, attempt=10)
    history = warm.wait(lambda h: checkers.ends(h, tokens[0]) and checkers.of(h, "dead", tokens[1]))
    letters = {letter.id: letter.payload for letter in warm.letters()}
    kept = checkers.ends(history, tokens[0], "retried") or letters.get(first.id)
    judge(
        checkers.never_started(history, tokens),
        checkers.holds(kept, "the payload is kept", "it was acknowledged and forgotten"),
        checkers.buried(history, last.id),
        checkers.holds(
            '"v":99' in letters.get(last.id, "").replace(" ", ""), "its payload is in the dead letter", "it is not"
        ),
    )


@check("PAYLOAD-04")
def test_payload_04(warm: Bed) -> None:
    for value in (object(), float("nan"), ProbeError, {1: 2}):
        token = new_token()
        try:
            warm.app.jobs["echo"].refresh(token, value)
        except ArgumentError:
            judge(checkers.same("payloads sent", 0, len(checkers.of(warm.history, "queued", token))))
        except Exception as error:
            judge(checkers.holds(False, f"ArgumentError for a {type(value).__name__}", repr(error)))
        else:
            judge(checkers.holds(False, f"ArgumentError for a {type(value).__name__}", "it was sent"))


@check("PAYLOAD-05")
def test_payload_05(warm: Bed) -> None:
    raw = f"{{no JSON: {new_token()}"
    warm.post(raw)
    warm.wait(lambda _: any(letter.payload == raw for letter in warm.letters()))
    letters = [letter for letter in warm.letters() if letter.payload == raw]
    judge(checkers.same("dead letters with the raw text", 1, len(letters)))
    id = letters[0].id
    warm.wait(lambda h: any(one.event == "dead" and one.id == id for one in h))  # told after the letter is there
    history = warm.quiet(lambda h: checkers.buried(h, id))
    token = warm.send("ok").token
    judge(checkers.buried(history, id), checkers.ran_once(warm.started(token), [token]))


@check("PAYLOAD-06")
def test_payload_06(warm: Bed) -> None:
    tokens = {key: new_token() for key in (*KEYS, "a key that nobody knows here")}
    for key, token in tokens.items():
        probe = warm.producer(suffix="-b", signing_keys=[key])
        probe.app.jobs["ok"].refresh(token)
    new, old, strange = tokens.values()
    history = warm.started(new, old)
    judge(checkers.ran_once(history, [new, old]))
    history = warm.wait(lambda h: any("sign" in one.data.get("reason", "") for one in checkers.of(h, "dead")))
    forged = [one for one in checkers.of(history, "dead") if one.t > warm.since and "sign" in one.data["reason"]]
    judge(checkers.never_started(history, [strange]), checkers.same("dead for their signature", 1, len(forged)))
