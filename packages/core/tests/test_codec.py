"""Codec and Signature: everything comes back equal and of its type, and different arguments differ in key."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum, auto
from functools import partial, wraps
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewarm.codec import MAX_DEPTH, Codec
from rewarm.errors import ArgumentError, ConfigurationError
from rewarm.signature import Signature, segment

if TYPE_CHECKING:
    from elsewhere import Unseen

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

texts = st.text(st.characters(exclude_categories=["Cs"]))
# whole seconds: CPython reads an offset that is shorter than one as UTC
offsets = st.none() | st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.binary(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.dates(),
    st.times(timezones=offsets),
    st.datetimes(timezones=offsets),
    st.timedeltas(),
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=6
)
keys = st.sampled_from(["", "$", "$$", "$uuid", "$$uuid", "$dict", "$tuple", "a"]) | texts
values = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=3),
        st.tuples(inner, inner),
        st.sets(hashables, max_size=3),
    ),
    max_leaves=12,
)


class Color(Enum):
    RED = "red"
    BLUE = ("b", 1)


class Size(IntEnum):
    SMALL = 1


class Perm(Flag):
    READ = auto()
    WRITE = auto()


class Maybe(Enum):
    NOTHING = None
    SOMETHING = 1


class Model:
    """Stands for a Django model: registered by its base class."""

    def __init__(self, pk: Any) -> None:
        self.pk = pk

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Author(Model): ...


MODELS = {cls.__name__: cls for cls in (Model, Author)}


def model_codec() -> Codec:
    codec = Codec()
    codec.add_type(
        "model", Model, lambda model: (type(model).__name__, model.pk), lambda data: MODELS[data[0]](data[1])
    )
    return codec


def shape(value: Any) -> Any:
    """The value with every type beside it, so that equal things of different types differ."""
    if isinstance(value, dict):
        return dict, {key: shape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [shape(item) for item in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted((repr(shape(item)) for item in value), key=str)
    if isinstance(value, datetime | time):
        return type(value), repr(value.replace(tzinfo=None, fold=0)), value.utcoffset()
    return type(value), repr(value)


def one(value: Any) -> Any: ...


ONE = Signature(one, Codec())


# --- values


@given(values)
def test_everything_comes_back_equal_and_of_its_type(value: Any) -> None:
    codec = Codec()
    through_text = codec.loads(codec.dumps(value))
    through_payload = codec.decode(json.loads(json.dumps(codec.encode(value), allow_nan=False)))
    assert through_text == through_payload == value
    assert shape(through_text) == shape(through_payload) == shape(value)


@given(values)
def test_text_is_canonical(value: Any) -> None:
    codec = Codec()
    text = codec.dumps(value)
    assert codec.dumps(codec.loads(text)) == text
    text.encode()


@given(values, values)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    codec = Codec()
    if shape(one) != shape(other):
        assert codec.dumps(one) != codec.dumps(other)
    else:
        assert codec.dumps(one) == codec.dumps(other)


@given(st.dictionaries(keys, scalars), st.randoms())
def test_order_of_dicts_and_sets_does_not_matter(value: dict[str, Any], random: Any) -> None:
    pairs = list(value.items())
    random.shuffle(pairs)
    codec = Codec()
    assert codec.dumps(dict(pairs)) == codec.dumps(value)
    assert codec.dumps({key for key, _ in pairs}) == codec.dumps(set(value))


def test_a_dict_keeps_its_order_in_a_payload() -> None:
    assert list(Codec().encode({"b": 1, "a": 2})) == ["b", "a"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (("a", 1), '{"$tuple":["a",1]}'),
        ({3, 1, 2}, '{"$set":[1,2,3]}'),
        (b"\0", '{"$bytes":"AA=="}'),
        (UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
        (Decimal("1.50"), '{"$decimal":"1.50"}'),
        (date(2024, 2, 29), '{"$date":"2024-02-29"}'),
        (timedelta(seconds=1.5), '{"$timedelta":1500000}'),
        ({"$uuid": 1}, '{"$$uuid":1}'),
        ({"b": "é", "a": None}, '{"a":null,"b":"é"}'),
    ],
)
def test_texts_as_documented(value: Any, text: str) -> None:
    assert Codec().dumps(value) == text


@pytest.mark.parametrize("digits", [20, 700, 6000])
def test_ints_of_any_size(digits: int) -> None:
    codec = Codec()
    for value in (10**digits, -(10**digits)):
        assert codec.loads(codec.dumps(value)) == value
        assert ONE.decode(json.loads(json.dumps(ONE.encode((value,))))) == (value,)
    assert ONE.key_part((10**digits,)) != ONE.key_part((10**digits + 1,))


def test_minus_zero_comes_back() -> None:
    assert math.copysign(1, Codec().loads(Codec().dumps(-0.0))) == -1


def test_a_datetime_keeps_its_offset_and_drops_zone_and_fold() -> None:
    berlin = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    back = Codec().loads(Codec().dumps(berlin))
    assert back == berlin
    assert back.tzinfo == timezone(timedelta(hours=2))
    assert ONE.key_part((back,)) == ONE.key_part((berlin,))
    second_time = berlin.replace(month=10, day=27, hour=2, minute=30, fold=1)
    assert Codec().loads(Codec().dumps(second_time)).utcoffset() == timedelta(hours=1)
    assert Codec().loads(Codec().dumps(datetime(2024, 1, 1, fold=1))).tzinfo is None


class Pair(NamedTuple):
    a: int
    b: int


class Text(str): ...


def loop() -> list[Any]:
    itself: list[Any] = []
    itself.append(itself)
    return itself


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = {"in": [value]} if levels % 2 else (value,)
    return value


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (object(), "value is an object, which cannot be encoded: register the type with add_type()"),
        ({"a": [1, {2, object}]}, r'value["a"][1]['),
        (math.nan, "value is nan, which cannot be encoded: use a finite number, or None"),
        ([-math.inf], "value[0] is -inf"),
        (Decimal("NaN"), "value is NaN"),
        (Decimal("sNaN"), "value is sNaN"),
        (Decimal("Infinity"), "value is Infinity"),
        ({1: 2}, "value has a key that is an int, which cannot be encoded: use str keys, or a list of pairs"),
        ({Text("a"): 2}, "value has a key that is a Text"),
        (("ok", "\ud800"), "value[1] has a lone surrogate"),
        ({"\udfff": 1}, "value has a lone surrogate"),
        ("\ud83d\ude00", "value has a lone surrogate"),
        (Text("a"), "value is a Text"),
        (Pair(1, 2), "value is a Pair"),
        (OrderedDict(a=1), "value is an OrderedDict"),
        (bytearray(b"a"), "value is a bytearray"),
        (Size.SMALL, "value is a Size, which cannot be encoded: use its value"),
        (loop(), "value contains itself, or more than 100 levels, which cannot be encoded: flatten it"),
        (nested(5000), "more than 100 levels"),
    ],
)
def test_what_cannot_come_back_is_refused_with_the_way_there(value: Any, complaint: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        Codec().dumps(value)
    assert complaint in str(caught.value)


def test_depth_is_counted_in_containers() -> None:
    codec = Codec()
    assert codec.loads(codec.dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(ArgumentError, match="more than 100 levels"):
        codec.dumps([nested(MAX_DEPTH)])


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '{"$new":1}', '{"$uuid":1}', '{"$date":"x"}', '{"$set":[[]]}', '{"$bytes":"é"}'],
    ids=lambda text: text[:12] or "empty",
)
def test_a_text_of_no_value_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError):
        Codec().loads(text)


def test_deep_data_is_refused_by_decode() -> None:
    data: Any = []
    for _ in range(5000):
        data = [data]
    with pytest.raises(ArgumentError, match="nested too deeply"):
        Codec().decode(data)


# --- types that were added


def test_an_added_type_covers_its_subclasses() -> None:
    codec = model_codec()
    value = [Author(UUID(int=7)), {"m": Model("x")}]
    assert codec.loads(codec.dumps(value)) == codec.decode(codec.encode(value)) == value
    assert codec.dumps(Author("1")) == '{"$model":{"$tuple":["Author","1"]}}'


def test_a_subclass_with_its_own_tag_uses_that() -> None:
    codec = model_codec()
    codec.add_type("author", Author, lambda author: author.pk, Author)
    assert codec.encode(Author(1)) == {"$author": 1}
    assert codec.encode(Model(1)) == {"$model": {"$tuple": ["Model", 1]}}


def test_an_added_enum_and_an_added_str_subclass_travel() -> None:
    codec = Codec()
    codec.add_type("size", Size, lambda size: size.value, Size)
    codec.add_type("text", Text, lambda text: "".join(text), Text)
    back = codec.loads(codec.dumps([Size.SMALL, Text("a")]))
    assert back == [Size.SMALL, "a"]
    assert [type(item) for item in back] == [Size, Text]


def test_dates_of_a_frozen_clock_travel_as_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    class Moment(datetime): ...

    class Day(date): ...

    value, codec = [Moment(2016, 3, 20, 14, tzinfo=UTC), Day(2016, 3, 20)], Codec()
    with pytest.raises(ArgumentError, match="is a Moment"):
        codec.dumps(value)
    monkeypatch.setattr("datetime.datetime", Moment)
    monkeypatch.setattr("datetime.date", Day)
    back = codec.loads(codec.dumps(value))
    assert (back, [type(item) for item in back]) == (value, [datetime, date])


def test_what_encode_returns_is_checked() -> None:
    codec = Codec()
    codec.add_type("model", Model, lambda model: model.pk, Model)
    with pytest.raises(ArgumentError, match=r'value\["\$model"\] is an object'):
        codec.encode(Model(object()))
    codec.add_type("author", Author, lambda author: author, lambda data: data)
    with pytest.raises(ArgumentError, match="contains itself"):
        codec.encode(Author(1))


def test_an_added_types_own_error_reaches_the_caller() -> None:
    with pytest.raises(KeyError):
        model_codec().decode({"$model": ["Gone", 1]})


@pytest.mark.parametrize(
    ("tag", "cls", "complaint"),
    [
        ("uuid", Color, "tag 'uuid' is taken: choose another for Color"),
        ("int", Color, "tag 'int' is taken"),
        ("model", Color, "tag 'model' is taken"),
        ("other", Model, "Model travels already"),
        ("text", str, "str travels already"),
        ("pair", tuple, "tuple travels already"),
        ("money", Decimal, "Decimal travels already"),
        ("Money", Color, "'Money' is no tag"),
        ("$x", Color, "is no tag"),
        ("", Color, "is no tag"),
        ("a\n", Color, "is no tag"),
    ],
)
def test_a_tag_has_one_class_and_a_class_one_tag(tag: str, cls: type, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        model_codec().add_type(tag, cls, str, str)
    assert complaint in str(caught.value)


def test_the_same_type_may_be_added_again() -> None:
    codec = model_codec()
    codec.add_type("model", Model, lambda model: 0, Model)
    assert codec.encode(Model(1)) == {"$model": 0}


# --- binding


def _shapes() -> dict[str, Callable[..., Any]]:
    def nothing(): ...
    def plain(a, b): ...
    def defaults(a, b=2, c=()): ...
    def only(a, /, b=2, *, c, d=4): ...
    def packed(a, *args, b=2, **kwargs): ...
    def everything(a, b=2, /, c=3, *args, d, e=5, **kwargs): ...
    def required_after_default(*, a=1, b): ...
    def shadow(list, tuple=(), *dict, **lambda_): ...
    def same(self, /, **kwargs): ...

    cases = (nothing, plain, defaults, only, packed, everything, required_after_default, shadow, same)
    return {case.__name__: case for case in cases}


SHAPES = _shapes()


def refusal(function: Callable[..., Any], args: list[int], kwargs: dict[str, int]) -> str:
    try:
        function(*args, **kwargs)
    except TypeError as error:
        return str(error).replace(function.__qualname__, function.__name__)
    return ""


CALLS = st.tuples(
    st.lists(st.integers(0, 9), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "self", "list", "x"]), st.integers(0, 9), max_size=4),
)


@pytest.mark.parametrize("shape_name", SHAPES)
@given(call=CALLS)
@settings(max_examples=60)
def test_binds_as_inspect_does_and_fails_where_python_does(
    shape_name: str, call: tuple[list[int], dict[str, int]]
) -> None:
    function = SHAPES[shape_name]
    args, kwargs = call
    signature = Signature(function, Codec())
    only = {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_ONLY}
    assume(not only & kwargs.keys())  # inspect refuses some of these calls that Python takes (python/cpython#87106)
    complaint = refusal(function, args, kwargs)
    if complaint:
        with pytest.raises(ArgumentError) as caught:
            signature.bind(args, kwargs)
        assert str(caught.value) == complaint
        return
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    expected = {k: list(v) if k in ("args", "dict") else v for k, v in bound.arguments.items()}
    values = signature.bind(args, kwargs)
    assert signature.mapping(values) == expected
    assert tuple(expected) == signature.names
    again_args, again_kwargs = signature.call(values)
    rebound = inspect.signature(function).bind(*again_args, **again_kwargs)
    rebound.apply_defaults()
    assert rebound.arguments == bound.arguments
    assert signature.bind(again_args, again_kwargs) == values
    assert signature.decode(json.loads(json.dumps(signature.encode(values)))) == values


def tweets(username: str, limit: int = 20) -> list[str]: ...


TWEETS = Signature(tweets, Codec())


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "tweets() missing 1 required positional argument: 'username'"),
        ((1, 2, 3), {}, "tweets() takes from 1 to 2 positional arguments but 3 were given"),
        (("a",), {"username": 1}, "tweets() got multiple values for argument 'username'"),
        (("a",), {"page": 1}, "tweets() got an unexpected keyword argument 'page'"),
    ],
)
def test_a_wrong_call_is_told_as_python_tells_it(args: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        TWEETS.bind(args, kwargs)
    assert str(caught.value) == message


def test_positional_and_keyword_calls_bind_alike() -> None:
    assert TWEETS.bind(("ada",), {}) == TWEETS.bind((), {"limit": 20, "username": "ada"}) == ("ada", 20)


def test_methods_partials_and_wrapped_functions() -> None:
    class Job:
        def load(self, pk: int, size: str = "s") -> None: ...

    codec = Codec()
    assert Signature(Job.load, codec, skip_self=True).bind((7,), {}) == (7, "s")
    assert Signature(Job().load, codec).names == ("pk", "size")
    assert Signature(partial(tweets, "ada"), codec, name="ada").bind((), {}) == (20,)

    @wraps(tweets)
    def wrapper(*args: Any, **kwargs: Any) -> Any: ...

    assert Signature(wrapper, codec).names == ("username", "limit")
    with pytest.raises(ArgumentError, match=r"^thumbs.path\(\) missing"):
        Signature(Job.load, codec, skip_self=True, name="thumbs.path").bind((), {})


def test_a_function_without_a_signature_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"type\(\) shows no signature: wrap it in a def"):
        Signature(type, Codec())


# --- arguments that travel


@given(values, values)
def test_the_worker_gets_equal_arguments_and_the_same_key(one: Any, other: Any) -> None:
    bound = (one, other)
    there = TWEETS.decode(json.loads(json.dumps(TWEETS.encode(bound))))
    assert there == bound
    assert TWEETS.key_part(there) == TWEETS.key_part(bound)


class Session: ...


@pytest.mark.parametrize("verb", ["encode", "key_part", "prefix"])
def test_an_argument_that_cannot_travel_is_named(verb: str) -> None:
    def report(user: Any, session: Any) -> None: ...

    signature = Signature(report, Codec())
    with pytest.raises(ArgumentError) as caught:
        getattr(signature, verb)(("ada", Session()))
    assert str(caught.value) == (
        "report(): argument 'session' is a Session, which cannot travel to a worker: "
        "pass an id, or register the type with app.add_type()"
    )
    with pytest.raises(ArgumentError, match=r"""^report\(\): argument 'user'\["ids"\]\[1\] is a Session"""):
        getattr(signature, verb)(({"ids": [1, Session()]}, 2))
    with pytest.raises(ArgumentError, match=r"argument 'session' is nan.*use a finite number"):
        getattr(signature, verb)((1, math.nan))
    with pytest.raises(ArgumentError, match=r"argument 'user' has a lone surrogate"):
        getattr(signature, verb)(("\ud800", 1))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (["ada"], r"tweets\(\) takes a list of \(username, limit\), not 1 values"),
        (["ada", 1, 2], "not 3 values"),
        ({"username": "ada"}, "not a dict"),
        (["ada", {"$nope": 1}], "argument 'limit': no type has the tag 'nope' here"),
        (["ada", {"$uuid": 1}], r"argument 'limit': malformed \$uuid"),
    ],
)
def test_arguments_of_another_shape_are_refused(data: Any, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        TWEETS.decode(data)


def test_packed_arguments_must_arrive_packed() -> None:
    signature = Signature(SHAPES["packed"], Codec())
    with pytest.raises(ArgumentError, match="'args' is a str: give all of 'args' as one list"):
        signature.decode([1, "ab", 2, {}])
    with pytest.raises(ArgumentError, match="'kwargs' is a list: give all of 'kwargs' as one dict"):
        signature.decode([1, [], 2, []])


# --- Enum


class Handler(Enum):
    FIRST = object()


def handle(handler: Handler) -> None: ...


def paint(color: Color, size: Size | None = None, perm: Perm = Perm.READ) -> None: ...


PAINT = Signature(paint, Codec())


@pytest.mark.parametrize("color", Color)
@pytest.mark.parametrize("size", [None, Size.SMALL])
@pytest.mark.parametrize("perm", [Perm.READ, Perm.READ | Perm.WRITE])
def test_an_annotated_member_comes_back(color: Color, size: Size | None, perm: Perm) -> None:
    bound = PAINT.bind((color, size, perm), {})
    there = PAINT.decode(json.loads(json.dumps(PAINT.encode(bound))))
    assert there == bound
    assert [type(value) for value in there] == [type(value) for value in bound]
    assert PAINT.key_part(there) == PAINT.key_part(bound)
    assert PAINT.key_part(bound).startswith(PAINT.prefix((color,)))


def test_a_members_value_is_what_travels() -> None:
    assert PAINT.encode((Color.RED, None, Perm.READ)) == ["red", None, 1]
    assert PAINT.key_part((Color.RED, Size.SMALL, Perm.READ)) == '"red",1,1,'


@pytest.mark.parametrize("verb", ["encode", "key_part"])
def test_a_value_in_a_members_place_is_refused(verb: str) -> None:
    with pytest.raises(ArgumentError, match=r"'color' is a str, but annotated as a Color: pass a member"):
        getattr(PAINT, verb)(("red", None, Perm.READ))


def test_a_member_that_is_gone_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"paint\(\): argument 'color': 'pink' is not a valid Color"):
        PAINT.decode(["pink", None, 1])


def test_a_member_whose_value_cannot_travel_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"'handler' is an object, .* app\.add_type\(\)$"):
        Signature(handle, Codec()).encode((Handler.FIRST,))


def test_a_member_without_annotation_is_refused() -> None:
    with pytest.raises(ArgumentError) as caught:
        TWEETS.encode(("ada", Size.SMALL))
    assert str(caught.value) == (
        "tweets(): argument 'limit' is a Size, which cannot travel to a worker: use its value, "
        "or annotate the parameter with Size (not under TYPE_CHECKING)"
    )


def test_which_annotations_count() -> None:
    def function(
        a: Annotated[Size, "doc"],
        b: Size | None,
        c: list[Size],
        d: Size | str,
        e: Maybe,
        f: Unseen,
        *g: Size,
    ) -> Unseen: ...

    signature = Signature(function, Codec())
    for index, name in enumerate(signature.names):
        bound: list[Any] = [Size.SMALL, None, [], "", 1, 0, []]
        bound[index] = [Size.SMALL] if name in "cg" else Maybe.NOTHING if name == "e" else Size.SMALL
        if name in "ab":
            assert signature.decode(signature.encode(bound)) == tuple(bound)
        else:
            with pytest.raises(ArgumentError, match=f"argument '{name}'"):
                signature.encode(bound)


def test_an_enum_annotation_survives_an_unresolvable_neighbour() -> None:
    def function(other: Unseen, size: Size) -> None: ...

    assert Signature(function, Codec()).decode([1, 1])[1] is Size.SMALL


# --- keys

LOOKALIKES: list[Any] = [
    None, "None", "null", True, "True", "true", False, 0, "0", "", 1, "1", 1.0, "1.0", Decimal(1),
    Decimal("1.0"), [], (), {}, set(), frozenset(), [None], [1], (1,), {1}, frozenset({1}), [[1]], ["1"],
    "[1]", "*", "?", "[x]", "\\", b"", b"1", "a:b", "a,b", "a::b", "a||b", '"', '\\"', "#", "#" + "0" * 32,
    "x" * 62, "x" * 63, "x" * 64, "é" * 31, "é" * 32, {"a": 1}, {"a": "1"}, {"$uuid": "a"}, {"$$uuid": "a"},
    {"$tuple": [1]}, {"$a": 1, "b": 2}, {"a": ["1", "2"]}, {"a": "1,2"}, UUID(int=1), str(UUID(int=1)),
    date(2024, 1, 1), "2024-01-01", datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), time(),
    timedelta(), 10**80, str(10**80), "\n", "\\n", "\x00", "\x7f", 1e22, 10**22,
]  # fmt: skip


def test_lookalikes_have_different_keys() -> None:
    parts = [ONE.key_part((value,)) for value in LOOKALIKES]
    assert len(set(parts)) == len(LOOKALIKES)


def test_the_boundary_between_arguments_counts() -> None:
    def load(*parts: Any) -> None: ...

    def pair(a: Any, b: Any) -> None: ...

    two, many = Signature(pair, Codec()), Signature(load, Codec())
    texts = ["a", "b", "a:b", ":", ",", 'a","b', '"', "", '",']
    assert len({two.key_part((a, b)) for a in texts for b in texts}) == len(texts) ** 2
    calls = [call for size in range(4) for call in combinations(texts, size)]
    assert len({many.key_part(many.bind(call, {})) for call in calls}) == len(calls)


@given(st.one_of(scalars, st.integers(-(2**70), 2**70), st.text(alphabet='aé"\\\n\x7f😀', max_size=80)))
def test_the_quick_texts_are_the_canonical_ones(value: Any) -> None:
    assert ONE.key_part((value,)) == segment(Codec().dumps(value))


def test_a_segment_is_its_text_up_to_64_bytes() -> None:
    assert segment("é" * 32) == "é" * 32 + ","
    for long in ("é" * 32 + "x", "x" * 65):
        assert segment(long).startswith("#")
        assert len(segment(long)) == 34
    assert segment("x" * 65) != segment("x" * 66)
    assert TWEETS.key_part(("x" * 62, 1)) == '"' + "x" * 62 + '",1,'
    assert TWEETS.key_part(("x" * 63, 1)).endswith(",1,")
    assert len(TWEETS.key_part(("x" * 63, 1))) == 36


def test_a_key_has_no_control_characters() -> None:
    assert TWEETS.key_part(("".join(map(chr, range(32))), 1)).isprintable()
    assert TWEETS.key_part(("ada", 20)) == '"ada",20,'
    assert Signature(SHAPES["nothing"], Codec()).key_part(()) == ""


@given(st.lists(values, min_size=3, max_size=3), st.lists(values, min_size=3, max_size=3), st.integers(0, 3))
def test_a_prefix_covers_exactly_the_keys_that_begin_with_it(a: list[Any], b: list[Any], size: int) -> None:
    def three(x: Any, y: Any, z: Any) -> None: ...

    signature = Signature(three, Codec())
    covered = signature.key_part(b).startswith(signature.prefix(a[:size]))
    assert covered == (shape(a[:size]) == shape(b[:size]))


@given(st.sampled_from(LOOKALIKES), st.sampled_from(LOOKALIKES), st.sampled_from(LOOKALIKES))
def test_a_prefix_of_a_lookalike_covers_nothing_else(a: Any, b: Any, c: Any) -> None:
    assert TWEETS.key_part((a, c)).startswith(TWEETS.prefix((b,))) == (shape(a) == shape(b))


def test_a_prefix_counts_packed_parameters_as_one() -> None:
    signature = Signature(SHAPES["packed"], Codec())
    key = signature.key_part(signature.bind((1, 2, 3), {"x": 4}))
    assert key == '1,[2,3],2,{"x":4},'
    assert key.startswith(signature.prefix((1, [2, 3])))
    assert signature.prefix(()) == ""
    with pytest.raises(ArgumentError, match="'args' is a tuple: give all of 'args' as one list"):
        signature.prefix((1, (2, 3)))
    with pytest.raises(ArgumentError, match=r"packed\(\) has 4 arguments, not 5"):
        signature.prefix((1, [], 2, {}, 5))


def test_keys_do_not_depend_on_the_process() -> None:
    program = (
        "from rewarm.codec import *\nfrom rewarm.signature import *\n"
        "def f(a, b): ...\n"
        "print(Signature(f, Codec()).key_part(({'x', 'y', 'z', 'é'}, {'k': frozenset('abc')})))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONUTF8": "1",
            },
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


def test_str_enum_annotations_accept_members_only() -> None:
    class Kind(StrEnum):
        DRAFT = "draft"

    def function(kind: Kind) -> None: ...

    function.__annotations__["kind"] = Kind  # a local name, which text alone does not resolve
    signature = Signature(function, Codec())
    assert type(signature.decode(signature.encode((Kind.DRAFT,)))[0]) is Kind
    with pytest.raises(ArgumentError, match="annotated as a Kind: pass a member"):
        signature.key_part(("draft",))
