"""Jobs: what may be one, what it is called, and how it is bound to an application."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rewarm import (
    Adapter,
    ArgumentError,
    ConfigurationError,
    DuplicateJob,
    Job,
    Rewarm,
    RewarmError,
    Route,
    State,
    StoreError,
    TaskDead,
)


@pytest.fixture
def app() -> Rewarm:
    return Rewarm("shop", adapter="inline")


def plain(n: int, size: str = "s") -> str:
    """Says what it was given."""
    return f"{n}{size}"


def module(tmp_path: Path, text: str, name: str = "caches") -> Any:
    """A module of its own, as an application would have."""
    path = tmp_path / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


# --- names


def test_a_function_names_its_job_and_keeps_its_face(app: Rewarm) -> None:
    job = app.job(ttl=60)(plain)
    assert (job.name, job.__name__, job.__doc__) == ("plain", "plain", "Says what it was given.")
    assert job.load is plain
    assert app.jobs == {"plain": job}
    assert repr(job) == "<BoundJob shop:plain(n: 'int', size: 'str' = 's') -> 'str'>"


def test_a_renamed_function_keeps_its_entries_under_the_old_name(app: Rewarm) -> None:
    old = app.job(ttl=60)(plain).key(1)
    assert app.job(ttl=60, name="plain_")(plain).key(1) != old
    assert Rewarm("shop").job(ttl=60, name="plain")(lambda n, size="s": n).key(1) == old


def test_two_functions_of_one_name_are_refused_with_both_places(app: Rewarm) -> None:
    app.job(ttl=60)(plain)
    with pytest.raises(DuplicateJob) as caught:
        app.job(ttl=60, name="plain")(module)
    told = str(caught.value)
    assert f"{__name__}.plain" in told
    assert f"{__name__}.module" in told
    assert "name=" in told
    assert app.jobs["plain"].load is plain


def test_a_module_that_is_imported_again_replaces_its_jobs(app: Rewarm, tmp_path: Path) -> None:
    text = "def define(app):\n    app.job(ttl=60)(total)\ndef total(n): return n"
    module(tmp_path, text).define(app)
    again = module(tmp_path, text)
    again.define(app)
    assert app.jobs["total"].load is again.total


def test_the_same_name_in_two_applications_is_no_duplicate() -> None:
    one, two = Rewarm("one").job(ttl=60)(plain), Rewarm("two").job(ttl=60)(plain)
    assert (one.key(1), two.key(1)) == ('one:plain:1,"s",', 'two:plain:1,"s",')


@pytest.mark.parametrize(
    "name", ["refresh", "invalidate", "sweep", "tag", "a:b", "a@2", "a b", "a\tb", "a\n", 5], ids=repr
)
def test_reserved_and_malformed_names_are_refused(app: Rewarm, name: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no job name"):
        app.job(ttl=60, name=name)(plain)


@pytest.mark.parametrize("name", ["Shop", "", "1shop", "a:b", "a b", "ä", None, "a\n"], ids=repr)
def test_an_application_is_named_in_lower_case(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"\[a-z\]"):
        Rewarm(name)


class Source:
    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def times(self, n: int) -> int:
        return n * self.factor

    async def atimes(self, n: int) -> int:
        return n * self.factor

    def __call__(self, n: int) -> int:
        return n + 100 * self.factor


def nested() -> Any:
    def inner(n: int) -> int:
        return n

    return inner


@pytest.mark.parametrize(
    "function",
    [lambda n: n, nested(), Source(3).times, Source(3), functools.partial(plain, size="m")],
    ids=["lambda", "nested", "bound", "callable", "partial"],
)
def test_what_has_no_name_of_its_own_needs_one(app: Rewarm, function: Any) -> None:
    with pytest.raises(ConfigurationError, match="name="):
        app.job(ttl=60)(function)
    job = app.job(ttl=60, name="named")(function)
    assert job(2) == function(2)


@pytest.mark.parametrize("name", [None, "named"], ids=str)
def test_a_method_in_a_class_body_is_refused_with_the_way_out(app: Rewarm, name: str | None) -> None:
    with pytest.raises(ConfigurationError, match="decorate the bound method"):

        class Thumbnails:
            @app.job(ttl=60, name=name)
            def path(self, image: int) -> str:
                return str(image)


def test_a_static_method_may_be_a_job_once_its_class_is_there(app: Rewarm) -> None:
    class Holder:
        @staticmethod
        def twice(n: int) -> int:
            return 2 * n

    assert app.job(ttl=60, name="twice")(Holder.twice)(4) == 8


def test_a_bound_method_loads_with_its_own_instance(app: Rewarm) -> None:
    job = app.job(ttl=60, name="times")(Source(7).times)
    assert job(6) == 42
    job.invalidate(6)
    assert (job.read(6).state, job.read(6).state) == (State.STALE, State.HIT)


def generator(n: int) -> Any:
    yield n


async def agenerator(n: int) -> Any:
    yield n


@pytest.mark.parametrize("function", [generator, agenerator], ids=lambda f: f.__name__)
def test_generators_are_refused_and_told_to_be_lists(app: Rewarm, function: Any) -> None:
    with pytest.raises(ConfigurationError, match="return a list"):
        app.job(ttl=60)(function)


def test_a_job_of_the_main_module_is_refused_where_workers_are_other_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from rewarm import Adapter, Rewarm
            class Elsewhere(Adapter):
                name = "elsewhere"
                def install(self): pass
                def enqueue(self, payload, *, route, delay): pass
            adapter = Elsewhere() if sys.argv[1] == "out" else "threads"
            app = Rewarm("shop", store="redis://127.0.0.1:1/0" if sys.argv[1] == "out" else "memory", adapter=adapter)
            @app.job(ttl=60)
            def total(n: int) -> int:
                return n
            print(total(5))
            """
        )
    )
    runs = {way: subprocess.run([sys.executable, script, way], capture_output=True, text=True) for way in ("in", "out")}
    assert runs["in"].stdout == "5\n"
    assert runs["out"].returncode == 1
    assert "ConfigurationError: job 'total' is defined in __main__" in runs["out"].stderr
    assert "move it to a module" in runs["out"].stderr


# --- the class form


class Price(Job):
    """A price."""

    ttl = timedelta(minutes=1)
    name = "price"

    def __init__(self, tax: int = 0) -> None:
        self.tax = tax

    def load(self, item: int, currency: str = "eur") -> str:
        return f"{item + self.tax} {currency}"

    def tags(self, item: int) -> list[str]:
        return [f"item:{item}", f"tax:{self.tax}"]

    def normalize(self, currency: str) -> dict[str, str]:
        return {"currency": currency.lower()}


def test_a_job_class_needs_only_load_and_takes_policies_as_attributes_and_methods(app: Rewarm) -> None:
    price = app.add(Price(tax=1))
    assert price(1, "EUR") == "2 eur"
    assert price.key(1, "EUR") == price.key(1) == 'shop:price:1,"eur",'
    assert price.entry(5).tags == ("item:5", "tax:1")


def test_a_class_without_arguments_may_be_added_itself_and_to_several_applications(app: Rewarm) -> None:
    other = Rewarm("other", adapter="inline")
    one, two = app.add(Price), other.add(Price)
    assert (one(1), two(1)) == ("1 eur", "1 eur")
    app.invalidate(tags=["item:1"])
    assert (one.peek(1).state, two.peek(1).state) == ("STALE", "HIT")


def test_one_job_object_may_be_added_to_several_applications(app: Rewarm) -> None:
    job, other = Price(tax=2), Rewarm("other", adapter="inline")
    assert [made.add(job)(1) for made in (app, other)] == ["3 eur", "3 eur"]


def test_a_class_is_named_by_itself_unless_it_says_otherwise(app: Rewarm) -> None:
    class Stock(Job):
        ttl = 5

        def load(self) -> int:
            return 3

    assert app.add(Stock).name == "Stock"


@pytest.mark.parametrize(
    ("attributes", "told"),
    [({"ttl": 5}, "needs a load method"), ({"load": lambda self: 1}, "needs a ttl")],
    ids=["load", "ttl"],
)
def test_a_class_that_lacks_something_is_told_what(app: Rewarm, attributes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        app.add(type("Lacking", (Job,), attributes))


def test_only_jobs_can_be_added(app: Rewarm) -> None:
    with pytest.raises(ConfigurationError, match="takes a Job"):
        app.add(plain)  # type: ignore[arg-type]


# --- arguments


def test_arguments_are_bound_with_their_defaults_filled_in(app: Rewarm) -> None:
    job = app.job(ttl=60)(plain)
    assert job.key(1) == job.key(1, "s") == job.key(n=1, size="s") == job.entry(1).key


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, "s", 2), {}), ((1,), {"colour": 1})], ids=str)
@pytest.mark.parametrize("verb", ["__call__", "get", "peek", "refresh", "invalidate", "delete", "key", "entry"])
def test_wrong_arguments_are_a_type_error_that_names_the_job(
    app: Rewarm, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    job = app.job(ttl=60)(plain)
    with pytest.raises(ArgumentError, match=r"plain\(\)"):
        getattr(job, verb)(*args, **kwargs)
    assert issubclass(ArgumentError, TypeError)


def test_star_arguments_are_one_list_and_one_dict(app: Rewarm) -> None:
    job = app.job(ttl=60, name="star")(lambda *args, flag=False, **more: [args, flag, more])
    assert job.key(1, 2, x=3) == 'shop:star:[1,2],false,{"x":3},'
    assert job(1, 2, flag=True, x=3) == [(1, 2), True, {"x": 3}]
    job.invalidate(1, 2, flag=True, x=3)
    job(1, 2, flag=True, x=3)
    assert job.read(1, 2, flag=True, x=3).state == State.HIT


def test_what_cannot_travel_is_refused_at_the_call(app: Rewarm) -> None:
    job = app.job(ttl=60)(plain)
    keyed = app.job(ttl=60, name="keyed", key=lambda n: "the same")(lambda n: 1)
    with pytest.raises(ArgumentError, match="argument 'n'"):
        keyed(object())
    with pytest.raises(ArgumentError, match="argument 'n'"):
        job(object())  # type: ignore[arg-type]


def test_a_type_of_ones_own_travels_once_it_is_added(app: Rewarm) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    app.add_type("point", Point, lambda point: point.x, Point)
    job = app.job(ttl=60, name="twice")(lambda point: Point(point.x * 2))
    assert job(Point(4)).x == 8
    job.invalidate(Point(4))
    job(Point(4))
    assert job.read(Point(4)).state == State.HIT


# --- versions


def test_a_version_is_part_of_the_key_and_leaves_old_entries_unread(app: Rewarm) -> None:
    first = app.job(ttl=60)(plain)
    first(1)
    second = app.job(ttl=60, version=2)(plain)
    assert second.key(1) == 'shop:plain@2:1,"s",'
    assert second.peek(1) is None


def test_the_whole_job_is_invalidated_whatever_the_version(app: Rewarm) -> None:
    first = app.job(ttl=60)(plain)
    entry = first.entry(1)
    entry.get()
    second = app.job(ttl=60, version=2)(plain)
    second(1)
    second.invalidate_all()
    assert (entry.peek().state, second.peek(1).state) == ("STALE", "STALE")


# --- errors


def test_the_exceptions_are_what_callers_already_catch() -> None:
    from rewarm import BlockingCall, EnqueueError, NotAcknowledged, OutcomeTimeout, PayloadError, SerializeError

    kinds: dict[type[Exception], type[Exception]] = {
        ConfigurationError: ValueError, DuplicateJob: ConfigurationError, ArgumentError: TypeError,
        SerializeError: TypeError, BlockingCall: RuntimeError, PayloadError: ValueError, StoreError: ConnectionError,
        EnqueueError: ConnectionError, OutcomeTimeout: TimeoutError, TaskDead: RewarmError,
        NotAcknowledged: RewarmError,
    }  # fmt: skip
    assert all(issubclass(error, base) and issubclass(error, RewarmError) for error, base in kinds.items())


def test_a_loads_own_exception_reaches_the_caller_unchanged(app: Rewarm) -> None:
    error = KeyError("mine")

    def broken(n: int) -> int:
        raise error

    job = app.job(ttl=60, name="broken")(broken)
    for verb in (job, job.get, job.read, job.reload):
        with pytest.raises(KeyError) as caught:
            verb(1)
        assert caught.value is error


def test_an_unknown_adapter_says_what_is_there_and_what_to_install() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Rewarm("shop", adapter="kafka")
    told = str(caught.value)
    assert "pip install rewarm-kafka" in told
    assert all(name in told for name in ("asyncio", "inline", "threads"))


@pytest.mark.parametrize(
    ("adapter", "told"),
    [
        ("no.such.module:Adapter", "no module 'no.such.module'"),
        ("json:Adapter", "has no 'Adapter'"),
        ("json:loads", "cannot be made without arguments"),
        ("builtins:dict", "makes a dict, not a rewarm Adapter"),
        (5, "give an Adapter"),
        (Adapter, "give an Adapter"),
    ],
    ids=str,
)
def test_an_adapter_that_is_none_is_refused(adapter: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Rewarm("shop", adapter=adapter)


def test_an_adapter_may_be_named_by_its_class() -> None:
    app = Rewarm("shop", adapter="rewarm.local:InlineAdapter")
    assert app.settings.adapter.name == "inline"


def test_a_job_that_a_route_needs_is_refused_before_it_is_registered(app: Rewarm) -> None:
    for route in ({"queue": 3}, {"colour": 1}, "low", 5):
        with pytest.raises(ConfigurationError, match="route"):
            app.job(ttl=60, route=route)(plain)  # type: ignore[arg-type]
    assert app.jobs == {}
    assert app.job(ttl=60, route=Route("low"))(plain)(1) == "1s"
