"""Values as the bytes that a store keeps: JSON with tags, signed pickles, or an object of the user's."""

from __future__ import annotations

import hmac
import json
import pickle
from collections.abc import Sequence
from typing import Any, Final, Protocol

from .codec import Codec, Misfit
from .errors import ConfigurationError, SerializeError

_TAGGED: Final = b"\x01"  # no JSON text begins with it
_SIGNED_AS: Final = b"rewarm.pickle\0"  # a task's signature under the same key is never one of a pickle
_DIGEST: Final = 32

_write = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")).encode


class Serializer(Protocol):
    """What `serializer=` accepts: any object with these two."""

    def dumps(self, value: Any, /) -> bytes: ...

    def loads(self, data: bytes, /) -> Any: ...


class JsonSerializer:
    """JSON for the types of `codec`: what comes back is equal and of the same type.

    A value without tags is plain JSON text, for other programs too; one with tags has the byte 01 in front.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def dumps(self, value: Any) -> bytes:
        """The bytes of `value`. Raises SerializeError that names the part which would not come back equal."""
        try:
            text = _write(self._codec.encode(value))
        except Misfit as misfit:
            remedy = "return plain data, or register the type with app.add_type()"
            raise SerializeError(misfit.about("value", "would not come back equal", remedy)) from None
        # inside a JSON string every quote is escaped, so this finds all tags and nothing that a string holds
        return (_TAGGED if '{"$' in text else b"") + text.encode()

    def loads(self, data: bytes) -> Any:
        """The value of `data`. Raises SerializeError if it cannot be read."""
        try:
            return self._codec.loads(data[1:].decode()) if data.startswith(_TAGGED) else json.loads(data)
        except Exception as error:
            raise _unreadable(error) from error


class PickleSerializer:
    """Pickles under an HMAC-SHA256 of their own, in front: signed with the first key, read with any of them.

    A signature proves that a holder of a key wrote the value; it does not say for which entry. Raises
    ConfigurationError if there is no key, or an empty one.
    """

    def __init__(self, signing_keys: Sequence[str | bytes]) -> None:
        if isinstance(signing_keys, str | bytes) or not signing_keys or not all(signing_keys):
            raise ConfigurationError("serializer='pickle' needs signing_keys=[…]: reading a pickle runs code")
        self._keys = [key.encode() if isinstance(key, str) else key for key in signing_keys]

    def dumps(self, value: Any) -> bytes:
        """The signed pickle of `value`. Raises SerializeError if it has none."""
        try:
            data = pickle.dumps(value, protocol=5)
        except Exception as error:
            raise SerializeError(f"value cannot be pickled: {error}") from error
        return _sign(self._keys[0], data) + data

    def loads(self, data: bytes) -> Any:
        """The value of `data`. Raises SerializeError if it cannot be read; unsigned, nothing is unpickled."""
        signature, data = data[:_DIGEST], data[_DIGEST:]
        if not any(hmac.compare_digest(signature, _sign(key, data)) for key in self._keys):
            raise SerializeError("stored pickle was signed with none of signing_keys: it was not read")
        try:
            return pickle.loads(data)
        except Exception as error:
            raise _unreadable(error) from error


class _Given:
    """A user's serializer, held to the contract: bytes go in, and what fails is a SerializeError."""

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer

    def dumps(self, value: Any) -> bytes:
        try:
            data = self._serializer.dumps(value)
        except Exception as error:
            raise SerializeError(f"{self._serializer!r} cannot write the value: {error}") from error
        if not isinstance(data, bytes):
            raise SerializeError(f"{self._serializer!r}.dumps() gave {type(data).__name__}, not bytes")
        return data

    def loads(self, data: bytes) -> Any:
        try:
            return self._serializer.loads(data)
        except Exception as error:
            raise _unreadable(error) from error


def resolve(policy: Any, codec: Codec, signing_keys: Sequence[str | bytes] = ()) -> Serializer:
    """The serializer of a policy: "json", "pickle", or an object with `dumps(value) -> bytes` and `loads`.

    Raises ConfigurationError for anything else, and for "pickle" without `signing_keys`.
    """
    if policy == "json":
        return JsonSerializer(codec)
    if policy == "pickle":
        return PickleSerializer(signing_keys)
    verbs = [getattr(policy, verb, None) for verb in ("dumps", "loads")]
    if all(map(callable, verbs)) and not isinstance(policy, type):
        return _Given(policy)
    raise ConfigurationError(f"serializer={policy!r}: use 'json', 'pickle' or an object with dumps and loads")


def _unreadable(error: Exception) -> SerializeError:
    return SerializeError(f"stored value cannot be read: {type(error).__name__}: {error}")


def _sign(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, _SIGNED_AS + data, "sha256")
