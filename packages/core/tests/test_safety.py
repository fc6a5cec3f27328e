"""What no argument and no payload can do: widen a sweep, leave the application's prefix, forge a signature."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rewarm import PayloadError, Rewarm, Task
from rewarm.cli.server import Server
from rewarm.task import SIGNED, loads

STRANGE = st.text(st.sampled_from("*?[]^-\\{}:,#\"'a1\0é "), min_size=1, max_size=6)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def client(valkey: Server) -> Iterator[redis.Redis]:
    with redis.Redis(port=valkey.port) as found:
        yield found


@example(first="*", others={"a", "aa"})
@example(first="[a-z]", others={"a", "z", "[a-z]a"})
@example(first="\\*", others={"*", "\\a"})
@example(first="a?", others={"ab", "a"})
@given(first=STRANGE, others=st.sets(STRANGE, max_size=6))
@QUICK
def test_a_sweep_reaches_the_entries_of_its_argument_and_no_other(
    valkey: Server, client: redis.Redis, first: str, others: set[str]
) -> None:
    client.flushall()
    with Rewarm("shop", store=valkey.url, adapter="inline") as app:
        price = app.job(name="price", ttl=60)(lambda item, currency: [item, currency])
        names = {first, *others}
        for item in names:
            price(item, "EUR")
        price.sweep(first)
        states = {item: str(found.state) for item in names if (found := price.peek(item, "EUR"))}
    assert states == {item: "STALE" if item == first else "HIT" for item in names}


@given(texts=st.lists(STRANGE, min_size=1, max_size=3))
@QUICK
def test_all_that_an_application_keeps_is_under_its_prefix_and_all_else_stays(
    valkey: Server, client: redis.Redis, texts: list[str]
) -> None:
    client.flushall()
    strangers = {b"shopping:1": b"a", b"shop": b"b", b"shop2:price:1,": b"c", b"": b"d"}
    client.mset(strangers)  # type: ignore[arg-type]
    with Rewarm("shop", store=valkey.url, adapter="inline") as app:
        price = app.job(name="price", ttl=60, tags=["item:{item}"])(lambda item: item)
        fails = app.job(name="fails", ttl=60)(lambda item: 1 / 0)
        for text in texts:
            price(text)
            price.refresh(text)
            price.invalidate(text)
            fails.refresh(text)
            app.invalidate(tags=[text])
            price.sweep(text)
        price.sweep()
        app.dead.list()
        keys = set(client.scan_iter(count=1000))
        assert {key for key in keys if not key.startswith(b"shop:")} == set(strangers)
        for text in texts:
            price.delete(text)
        app.dead.purge()
    assert dict(zip(strangers, client.mget(strangers), strict=True)) == strangers


KEYS = st.lists(st.binary(min_size=16, max_size=40), min_size=1, max_size=4, unique=True)


@given(keys=KEYS, signer=st.integers(0, 3), stranger=st.binary(min_size=16, max_size=40))
def test_a_payload_is_read_with_any_of_the_keys_in_rotation_and_with_no_other(
    keys: list[bytes], signer: int, stranger: bytes
) -> None:
    key = keys[signer % len(keys)]
    payload = Task(id="1", app="shop", kind="invalidate", args={"tags": ["t"]}).dumps([key])
    assert loads(payload, keys).id == "1"
    rest = [stranger, *(other for other in keys if other != key)]
    if key != stranger:
        with pytest.raises(PayloadError, match="signature"):
            loads(payload, rest)


@given(
    field=st.sampled_from(SIGNED), value=st.text(max_size=5) | st.integers(0, 9) | st.dictionaries(st.text(), st.none())
)
def test_no_signed_field_can_be_changed(field: str, value: object) -> None:
    wire = json.loads(Task(id="1", app="shop", kind="invalidate", args={"tags": ["t"]}).dumps([b"k" * 16]))
    if wire.get(field) == value:
        return
    with pytest.raises(PayloadError):
        loads(json.dumps({**wire, field: value}), [b"k" * 16])
