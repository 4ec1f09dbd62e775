"""What differs between the run that was stopped and the one that would go on with it, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["changes"]

MOST_NAMED = 4
"""Differences that one sentence names."""
SHA_DIGITS = 12


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The differences of two sets of facts, "" where there is none; as JSON knows them, nested mappings and lists.

    The facts under "input" are an identity as in `SourceInfo`, whose files are compared one by one.
    """
    found = _of_input(before.get("input", {}), now.get("input", {}))
    for topic in sorted({*before, *now} - {"input"}):
        found += _of_values(topic, before.get(topic), now.get(topic))
    if len(found) > MOST_NAMED:
        found = [*found[:MOST_NAMED], f"and {len(found) - MOST_NAMED} more"]
    return "; ".join(found)


def _of_input(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = _files(before), _files(now)
    found = [f"{name} is gone" for name in old if name not in new]
    found += [f"{name} is new" for name in new if name not in old]
    for name in old:
        if name in new and old[name][0] != new[name][0]:
            found.append(f"{name} had {old[name][0]:,} bytes and has {new[name][0]:,}")
        elif name in new and old[name] != new[name]:
            found.append(f"{name} was modified since")
    return found or ([] if before == now else ["the input is another one"])


def _files(identity: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    return {name: tuple(facts) for name, *facts in identity.get("files", [])}


def _of_values(name: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = sorted({*before, *now})
        return [each for key in keys for each in _of_values(str(key), before.get(key), now.get(key))]
    return [] if before == now else [f"{name} was {_text(before)} and is {_text(now)}"]


def _text(value: Any) -> str:
    if value is None:
        return "not given"
    text = str(value)
    return text[:SHA_DIGITS] if len(text) == 64 and text.isalnum() else text
