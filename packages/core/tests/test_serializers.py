"""Serializers: what is stored comes back equal, or is refused when it is stored; damaged bytes never pass."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarm.codec import Codec
from rewarm.errors import ConfigurationError, SerializeError
from rewarm.serializers import JsonSerializer, PickleSerializer, resolve

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(['{"$uuid":1}', '"$', "$uuid", '\\{"$'])
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, min_size=2, max_size=4),
    max_leaves=12,
)
tagged = st.one_of(
    st.tuples(plain, plain),
    st.sets(st.uuids() | st.dates()),
    st.binary(),
    st.dictionaries(st.sampled_from(["$uuid", "$", "$$x", "x"]), plain | st.just(Decimal("1.50"))),
)


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Text(str): ...


def fired() -> None:
    raise AssertionError("a pickle that nobody signed was read")


class Bomb:
    def __reduce__(self) -> Any:
        return fired, ()


# --- json


@given(plain | tagged | st.lists(plain | tagged))
def test_json_comes_back_equal_and_of_its_type(value: Any) -> None:
    serializer = JsonSerializer(Codec())
    back = serializer.loads(serializer.dumps(value))
    assert back == value
    assert type(back) is type(value)


@given(plain)
def test_a_value_without_tags_is_plain_json(value: Any) -> None:
    data = JsonSerializer(Codec()).dumps(value)
    assert data.startswith(b"\x01") or json.loads(data) == value
    assert not data.startswith(b"\x01") or b'{"$' in data


def test_only_tags_are_marked() -> None:
    serializer = JsonSerializer(Codec())
    for value in ("$", '{"$uuid":1}', ["$x"], {"a$": "$"}, '\\{"$a"'):
        assert serializer.dumps(value)[:1] != b"\x01"
    for tagged_value in ((), [UUID(int=1)], {"$uuid": 1}, 10**6000):
        assert serializer.dumps(tagged_value)[:1] == b"\x01"
        assert serializer.loads(serializer.dumps(tagged_value)) == tagged_value


def test_a_plain_value_is_read_without_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    serializer = JsonSerializer(Codec())
    data = serializer.dumps({"items": [{"a": 1}]})
    monkeypatch.setattr(Codec, "_untag", None)
    assert serializer.loads(data) == {"items": [{"a": 1}]}


def test_a_value_keeps_the_order_of_its_dicts() -> None:
    serializer = JsonSerializer(Codec())
    assert list(serializer.loads(serializer.dumps({"b": (), "a": 1}))) == ["b", "a"]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (
            {"items": [0, 1, 2, Point(1)]},
            'value["items"][3] is a Point, which would not come back equal: '
            "return plain data, or register the type with app.add_type()",
        ),
        ({1: "a"}, "value has a key that is an int, which would not come back equal: use str keys"),
        ([{"a": {None: 1}}], 'value[0]["a"] has a key that is a NoneType'),
        (Text("a"), "value is a Text"),
        (math.nan, "value is nan, which would not come back equal: use a finite number, or None"),
        ({"x": math.inf}, 'value["x"] is inf'),
        ((Color.RED,), "value[0] is a Color, which would not come back equal: use its value"),
        (["\ud800"], "value[0] has a lone surrogate"),
        ((item for item in ()), "value is a generator"),
    ],
)
def test_what_would_not_come_back_is_refused_with_the_way_there(value: Any, complaint: str) -> None:
    with pytest.raises(SerializeError) as caught:
        JsonSerializer(Codec()).dumps(value)
    assert complaint in str(caught.value)


def test_added_types_are_values_too() -> None:
    codec = Codec()
    codec.add_type("point", Point, lambda point: point.x, Point)
    serializer = JsonSerializer(codec)
    assert serializer.loads(serializer.dumps([Point(3)])) == [Point(3)]
    with pytest.raises(SerializeError, match="no type has the tag 'point' here"):
        JsonSerializer(Codec()).loads(serializer.dumps(Point(3)))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"\x01", b"\x01\xff", b'\x01{"$uuid":1}', b"[" * 100_000])
def test_damaged_json_is_told(data: bytes) -> None:
    with pytest.raises(SerializeError, match="stored value cannot be read"):
        JsonSerializer(Codec()).loads(data)


# --- pickle


@given(st.binary(), st.lists(texts.filter(bool) | st.binary(min_size=1), min_size=1, max_size=3))
def test_pickles_come_back(value: bytes, keys: list[str | bytes]) -> None:
    serializer = PickleSerializer(keys)
    assert serializer.loads(serializer.dumps([value, Point(1), Color.RED])) == [value, Point(1), Color.RED]


def test_keys_rotate() -> None:
    old, both, new = PickleSerializer(["old"]), PickleSerializer([b"new", "old"]), PickleSerializer(["new"])
    assert both.loads(old.dumps(1)) == new.loads(both.dumps(1)) == 1
    with pytest.raises(SerializeError, match="signed with none of signing_keys"):
        new.loads(old.dumps(1))


def test_an_unsigned_pickle_is_not_read() -> None:
    serializer = PickleSerializer(["key"])
    bomb = pickle.dumps(Bomb())
    for data in (b"", bomb, b"\0" * 32 + bomb, serializer.dumps(1)[:32] + bomb):
        with pytest.raises(SerializeError, match="it was not read"):
            serializer.loads(data)


@given(st.integers(0), st.integers(1, 255))
def test_any_changed_byte_is_seen(place: int, change: int) -> None:
    serializer = PickleSerializer(["key"])
    data = bytearray(serializer.dumps({"a": [1, 2, 3]}))
    data[place % len(data)] ^= change
    with pytest.raises(SerializeError, match="it was not read"):
        serializer.loads(bytes(data))


def test_failures_of_pickle_are_told() -> None:
    serializer = PickleSerializer(["key"])
    with pytest.raises(SerializeError, match="value cannot be pickled"):
        serializer.dumps(lambda: None)
    with pytest.raises(SerializeError, match="cannot be read: AssertionError"):
        serializer.loads(serializer.dumps(Bomb()))


@pytest.mark.parametrize("keys", [(), [], "secret", b"other", ["a", ""]])
def test_pickle_needs_keys(keys: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs signing_keys"):
        resolve("pickle", Codec(), keys)


# --- resolve


class Hex:
    def dumps(self, value: int) -> Any:
        return f"{value:x}".encode() if value >= 0 else "minus"

    def loads(self, data: bytes) -> int:
        return int(data, 16)


def test_names_and_objects_resolve() -> None:
    assert isinstance(resolve("json", Codec()), JsonSerializer)
    assert isinstance(resolve("pickle", Codec(), ["key"]), PickleSerializer)
    for given_object in (Hex(), pickle):
        serializer = resolve(given_object, Codec())
        assert serializer.loads(serializer.dumps(255)) == 255


def test_an_object_is_held_to_the_contract() -> None:
    serializer = resolve(Hex(), Codec())
    with pytest.raises(SerializeError, match="cannot write the value"):
        serializer.dumps("x")
    with pytest.raises(SerializeError, match="gave str, not bytes"):
        serializer.dumps(-1)
    with pytest.raises(SerializeError, match="cannot be read: ValueError"):
        serializer.loads(b"zz")


@pytest.mark.parametrize("policy", ["yaml", "JSON", None, Hex, object(), 3])
def test_anything_else_is_refused(policy: Any) -> None:
    with pytest.raises(ConfigurationError, match="use 'json', 'pickle' or an object with dumps and loads"):
        resolve(policy, Codec())
