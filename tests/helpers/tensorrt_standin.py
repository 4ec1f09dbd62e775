"""Stand-ins for the modules `tensorrt` and `tensorrt_rtx`: the names of the real bindings, and no others.

    trt = standin("10.3")                                    # or "11.4", "rtx-1.7"; skips where the table is absent
    trt = standin("11.4", faults={"Builder.build_serialized_network": None})
    monkeypatch.setitem(sys.modules, trt.__name__, trt)      # install(monkeypatch, trt) does it

The tables were read off the real bindings. A name outside its table is an AttributeError, as it is there, to read and
to write; a name in the table that is not simulated fails the test. What is simulated is in `tensorrt_building` and
`tensorrt_running`. Any call can be made to fail: with `world(trt).faults["IExecutionContext.set_tensor_address"] =
False` it returns that, and where the value is an exception it is raised. `alive(trt)` counts objects, so that a test
sees what was left behind.
"""

import functools
import importlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import Any, cast
from weakref import WeakSet

import pytest

from helpers import tensorrt_building, tensorrt_running
from helpers.shared import shared
from helpers.tensorrt_world import BASES, ENUM_VALUES, Device, HostDevice, Severity, World

__all__ = ["VERSIONS", "alive", "install", "standin", "table", "world"]

VERSIONS = ("10.3", "11.4", "rtx-1.7")
NO_MEMBERS = frozenset(("name", "value", "itemsize", "_pybind11_conduit_v1_"))
DRIVERLESS = TypeError("pybind11::init(): factory function returned nullptr")
"""What the real bindings raise where there is no driver."""


def table(version: str) -> dict[str, Any]:
    """Class -> members, and the other names of the module; skips where the file is absent."""
    path = shared("..", "tensorrt", f"api-{version}.json")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def standin(version: str, *, faults: dict[str, Any] | None = None, device: Device | None = None) -> ModuleType:
    """A module with the names of that version's table; `device` runs what execution contexts launch."""
    names = table(version)
    module = ModuleType("tensorrt_rtx" if version.startswith("rtx") else "tensorrt")
    module.__spec__ = ModuleSpec(module.__name__, None)
    module.__dict__["__version__"] = names["__version__"]
    here = World(module, dict(faults or {}), device or HostDevice(), WeakSet())
    module.__dict__["_world"] = here
    for name, members in names.items():
        if isinstance(members, list) and {"name", "value"} <= set(members):
            setattr(module, name, _enum(name, members))
    for name, members in names.items():
        if not isinstance(members, list):
            continue
        if not hasattr(module, name):
            setattr(module, name, _class(here, name, frozenset(members)))
        if "Severity" in members:
            for constant in ("Severity", *Severity.__members__):
                type.__setattr__(getattr(module, name), constant, getattr(Severity, constant, Severity))
    for name in ("volume", "nptype"):
        if name in names:
            setattr(module, name, functools.partial(getattr(tensorrt_building, name), module))
    return module


def install(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> ModuleType:
    """Make `module` what `import tensorrt` (or tensorrt_rtx) gives during the test, and hide the other flavour."""
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, module if name == module.__name__ else None)
    importlib.invalidate_caches()
    return module


def world(module: ModuleType) -> World:
    """Faults, device and messages of a stand-in."""
    found: World = module.__dict__["_world"]
    return found


def alive(module: ModuleType) -> Counter[str]:
    """How many objects of each class are still referenced."""
    return Counter(type(made).__name__ for made in world(module).made)


def simulated_members(name: str) -> dict[str, Any]:
    """What is simulated of a class, by name; empty where nothing is."""
    for room in (tensorrt_building, tensorrt_running):
        if isinstance(found := vars(room).get(name), type) and found.__module__ == room.__name__:
            return dict(vars(found))
    return {}


def _enum(name: str, members: list[str]) -> type[IntEnum]:
    known = ENUM_VALUES.get(name, {})
    names = [member for member in members if member not in NO_MEMBERS]
    made: Any = IntEnum(name, {member: known.get(member, 100 + i) for i, member in enumerate(names)})  # type: ignore[misc]
    return cast("type[IntEnum]", made)


def _class(here: World, name: str, listed: frozenset[str]) -> type:
    """A class with the listed members alone: simulated ones where there are, the others fail the test."""
    simulated = simulated_members(name)
    parts: dict[str, Any] = {"_world": here, "__setattr__": _guarded_set, "__init__": _nobody}
    for member in listed:
        if not member.startswith("__"):
            parts[member] = _member(here, f"{name}.{member}", simulated.get(member, _absent))
    for member, value in simulated.items():
        if member.startswith("_") and member not in ("__dict__", "__weakref__", "__doc__", "__module__"):
            parts[member] = _faulty(here, f"{name}.{member}", value) if isinstance(value, FunctionType) else value
    return type(name, BASES.get(name, ()), parts)


def _nobody(self: Any) -> None:
    pytest.fail(f"the stand-in does not simulate {type(self).__name__}()")


_absent = object()


def _member(here: World, label: str, value: Any) -> Any:
    if value is _absent:
        return property(lambda self: pytest.fail(f"the stand-in does not simulate {label}"))
    if isinstance(value, FunctionType):
        return _faulty(here, label, value)
    if isinstance(value, property) and value.fset is not None:
        return property(value.fget, _faulty(here, label, value.fset))
    return value


def _faulty(here: World, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any, *args: Any, **named: Any) -> Any:
        if label.endswith(".__init__"):
            here.made.add(self)
        if label in here.faults:
            value = here.faults[label]
            if (logger := getattr(self, "_logger", None)) is not None:
                logger.log(Severity.ERROR, f"Error Code 9: {label} was told to fail")
            if isinstance(value, BaseException):
                raise value
            return value
        return function(self, *args, **named)

    return call


def _guarded_set(self: Any, name: str, value: Any) -> None:
    """As pybind11's classes, which take no attributes of their own; a Python subclass of one does."""
    own = type(self).__dict__.get("_world") is not None
    if own and not name.startswith("_") and not isinstance(getattr(type(self), name, None), property):
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
    object.__setattr__(self, name, value)
