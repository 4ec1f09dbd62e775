"""Values out of JSON into dataclasses, checked against their types; what does not fit is named by its place."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["Misfit", "fitted"]


class Misfit(Exception):
    """A value is not of the type that its place asks for; the message says where."""


def fitted(kind: Any, value: Any, place: str) -> Any:
    """`value`, as json.loads gives it, as a value of type `kind`; keys that a dataclass does not have are ignored.

    Knows dataclasses, str, int, float (which takes an int), bool, None, unions, tuples of one type, sequences and
    mappings by text, and Any. Raises Misfit.
    """
    if kind is Any:
        return value
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(inner, value, place)
    if is_dataclass(kind):
        return _dataclass(kind, value, place)
    if origin in (tuple, Sequence, list):
        if not isinstance(value, list):
            raise Misfit(f"{place} is {_told(value)}, not a list")
        items = [fitted(inner[0], item, f"{place}[{number}]") for number, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            raise Misfit(f"{place} is {_told(value)}, not a table")
        return {key: fitted(inner[1], item, f"{place}.{key}") for key, item in value.items()}
    return _plain(kind, value, place)


def _plain(kind: Any, value: Any, place: str) -> Any:
    if kind is NoneType and value is None:
        return None
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    if kind in (str, int, bool) and type(value) is kind:
        return value
    raise Misfit(f"{place} is {_told(value)}, not {getattr(kind, '__name__', kind)}")


def _one_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    rest = [kind for kind in kinds if kind is not NoneType]
    for kind in rest[:-1]:
        try:
            return fitted(kind, value, place)
        except Misfit:
            continue
    return fitted(rest[-1], value, place)


def _dataclass(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        raise Misfit(f"{place} is {_told(value)}, not a table")
    hints = _hints(kind)
    words = {}
    for one in fields(kind):
        where = f"{place}.{one.name}" if place else one.name
        if one.name in value:
            words[one.name] = fitted(hints[one.name], value[one.name], where)
        elif one.default is MISSING and one.default_factory is MISSING:
            raise Misfit(f"{where} is missing")
    return kind(**words)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
