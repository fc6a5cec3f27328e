"""The wire form of a task: what is written, what is refused, what survives, and what a signature covers."""

from __future__ import annotations

import contextlib
import json
import secrets
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewarm import ConfigurationError, PayloadError, Rewarm, Route, Task
from rewarm.task import SIGNED, WIRE, loads, signing_key

KEY, OTHER = b"k" * 32, b"o" * 32
REFRESH: dict[str, Any] = {
    "v": 1, "id": "a1", "app": "shop", "kind": "refresh", "job": "price", "args": [1], "key": "shop:price:1,",
    "born": "00" * 8, "q": 3,
}  # fmt: skip
INVALIDATE: dict[str, Any] = {"v": 1, "id": "a2", "app": "shop", "kind": "invalidate", "args": {"tags": ["t"]}}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
almost = st.builds(
    lambda base, changes: {**base, **changes},
    st.sampled_from([REFRESH, INVALIDATE]),
    st.dictionaries(st.sampled_from(WIRE), anything, max_size=3),
)


def test_a_task_is_one_json_string_and_comes_back_equal() -> None:
    task = Task(**REFRESH, due=1.5, not_after=9.25, queue="low", priority="low", trace={"traceparent": "00-1"})
    assert loads(task.dumps()) == task
    assert type(json.loads(task.dumps())) is dict


def test_the_routes_options_are_not_on_the_wire() -> None:
    task = Task(**REFRESH, options={"expires": 5})
    assert "expires" not in task.dumps()
    assert task.route == Route(None, "normal", {"expires": 5})


def test_unknown_fields_survive_a_follow_up() -> None:
    task = loads(json.dumps({**REFRESH, "colour": {"deep": [1, None]}}))
    again = json.loads(task.again(attempt=2, due=4.0).dumps())
    assert again["colour"] == {"deep": [1, None]}
    assert (again["attempt"], again["due"], again["id"]) == (2, 4.0, "a1")


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"{}", "is a bytes, not a string"),
        (None, "is a NoneType"),
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "JSON list, not an object"),
        ("{}", "lacks v, id, app, kind"),
    ],
    ids=["bytes", "none", "empty", "broken", "deep", "list", "bare"],
)
def test_what_is_no_payload_is_refused_and_told_why(payload: Any, told: str) -> None:
    with pytest.raises(PayloadError, match=told):
        loads(payload)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "explode"}, "none of refresh, invalidate, sweep"),
        ({"id": ""}, "lacks id"),
        ({"v": 0}, "v is 0, counted from 1"),
        ({"v": -1}, "v is -1, counted from 1"),
        ({"v": True}, "'v' is True"),
        ({"v": "1"}, "'v' is '1'"),
        ({"args": "x"}, "'args'"),
        ({"args": {}}, "needs 'args' as list"),
        ({"job": None}, "needs 'job'"),
        ({"key": None}, "needs 'key'"),
        ({"born": "xyz"}, "16 hex digits"),
        ({"born": "00"}, "16 hex digits"),
        ({"attempt": 0}, "counted from 1"),
        ({"priority": "urgent"}, "priority"),
        ({"due": "soon"}, "'due'"),
    ],
    ids=str,
)
def test_a_field_of_the_wrong_kind_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(PayloadError, match=told):
        loads(json.dumps({**REFRESH, **changes}))


@pytest.mark.parametrize("name", ["keys", "tags", "jobs"])
@pytest.mark.parametrize("wrong", ["text", [1], {"a": 1}], ids=str)
def test_an_invalidate_payload_names_lists_of_texts(name: str, wrong: Any) -> None:
    with pytest.raises(PayloadError, match=f"'{name}' must be a list of strings"):
        loads(json.dumps({**INVALIDATE, "args": {name: wrong}}))


@pytest.mark.parametrize("name", ["attempt", "born", "priority", "q", "due", "queue", "trace", "sig"])
def test_a_null_is_as_good_as_absent(name: str) -> None:
    assert loads(json.dumps({**INVALIDATE, name: None})) == loads(json.dumps(INVALIDATE))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["due", "not_after", "enqueued_at", "later"])
def test_a_number_that_json_cannot_write_again_is_refused(field: str, number: str) -> None:
    payload = json.dumps({**INVALIDATE, field: 0.5}).replace("0.5", number)
    with pytest.raises(PayloadError, match="not JSON"):
        loads(payload)


@pytest.mark.parametrize("number", [-1, 2**32, 10**30], ids=str)
@pytest.mark.parametrize("field", ["q", "attempt"])
def test_a_number_that_no_store_can_keep_is_refused(field: str, number: int) -> None:
    with pytest.raises(PayloadError, match=field):
        loads(json.dumps({**REFRESH, field: number}))


def test_a_newer_version_is_read_as_far_as_possible() -> None:
    task = loads(json.dumps({"v": 9, "id": "x", "app": "shop", "kind": "transmogrify", "args": [1], "new": 1}))
    assert (task.v, task.kind, task.rest) == (9, "transmogrify", {"new": 1})


@settings(deadline=None)
@given(st.text() | st.binary() | anything.map(lambda value: json.dumps(value)))
def test_any_text_is_read_or_refused_and_nothing_else(payload: Any) -> None:
    with contextlib.suppress(PayloadError):
        loads(payload)


@settings(deadline=None, max_examples=400)
@given(almost)
@example({**INVALIDATE, "attempt": None})
@example({**INVALIDATE, "born": None})
def test_whatever_is_read_can_be_written_again(wire: dict[str, Any]) -> None:
    try:
        task = loads(json.dumps(wire))
    except PayloadError:
        return
    assert loads(task.dumps()) == task


# --- signatures


def test_a_signature_is_checked_where_keys_are_given() -> None:
    signed = Task(**REFRESH).dumps([KEY])
    assert loads(signed, [KEY]).id == "a1"
    for keys, payload in ([OTHER], signed), ([KEY], Task(**REFRESH).dumps()):
        with pytest.raises(PayloadError, match="signature"):
            loads(payload, keys)


def test_keys_rotate_the_first_signs_and_any_is_accepted() -> None:
    assert loads(Task(**REFRESH).dumps([KEY]), [OTHER, KEY]).id == "a1"
    assert loads(Task(**REFRESH).dumps([OTHER, KEY]), [OTHER]).id == "a1"


def test_a_follow_up_keeps_the_signature_of_its_first_attempt() -> None:
    task = loads(Task(**REFRESH, not_after=7.5, enqueued_at=0.1).dumps([KEY]), [KEY, OTHER])
    assert loads(task.again(attempt=4, due=3.25).dumps([OTHER]), [KEY]).attempt == 4


FORGED: dict[str, Any] = {
    "v": 0, "id": "b", "app": "other", "kind": "refresh", "job": "secret", "args": [2], "key": "shop:price:2,",
    "born": "11" * 8, "q": 4, "not_after": 1.0, "enqueued_at": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("field", [name for name in SIGNED if name != "kind"])
def test_what_a_task_does_is_signed(field: str) -> None:
    signed = json.loads(Task(**REFRESH).dumps([KEY]))
    assert signed.get(field) != FORGED[field]
    with pytest.raises(PayloadError, match="signature"):
        loads(json.dumps({**signed, field: FORGED[field]}), [KEY])


@pytest.mark.parametrize("changes", [{"attempt": 2}, {"due": 5.0}, {"trace": {"a": "b"}}, {"rest": 1}], ids=str)
def test_when_and_how_often_is_not_signed(changes: dict[str, Any]) -> None:
    signed = json.loads(Task(**REFRESH).dumps([KEY]))
    assert loads(json.dumps({**signed, **changes}), [KEY]).id == "a1"


def test_a_short_signing_key_is_refused_with_a_way_to_make_one() -> None:
    with pytest.raises(ConfigurationError, match=r"secrets\.token_hex"):
        signing_key("short")
    with pytest.raises(ConfigurationError, match="list of keys"):
        Rewarm("shop", signing_keys=secrets.token_hex())


@pytest.mark.parametrize(("fields", "told"), [({"priority": "urgent"}, "urgent"), ({"queue": 3}, "queue")], ids=str)
def test_a_wrong_route_is_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Route(**fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"args": {"keys": ["shop:price:1,", "other:price:1,"]}},
        {"args": {"keys": ["shopping"]}},
        {"kind": "sweep", "args": {"prefix": ""}},
        {"kind": "sweep", "args": {"prefix": "sho"}},
        {"kind": "sweep", "args": {"prefix": 5}},
        {"kind": "sweep", "args": {}},
    ],
    ids=str,
)
def test_a_payload_reaches_no_keys_but_its_own_applications(changes: dict[str, Any]) -> None:
    with pytest.raises(PayloadError, match="reaches beyond"):
        loads(json.dumps({**INVALIDATE, **changes}))
