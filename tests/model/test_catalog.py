from pathlib import Path

import pytest

from calanddet.model.catalog import SHIPPED, resolve_checkpoint
from calanddet.model.checkpoint import checkpoint_sha256, load_checkpoint
from calanddet.runtime.catalog import resolve_model
from calanddet.runtime.engines.opening import open_engine
from calanddet.runtime.errors import ModelError


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_checkpoint_is_the_one_that_its_onnx_was_made_from(name: str) -> None:
    path = resolve_checkpoint(name)
    assert path.stat().st_size < 25_000_000
    network = load_checkpoint(path)
    assert network.config.name == name
    assert sum(parameter.numel() for parameter in network.parameters()) <= 10_000_000
    engine = open_engine(resolve_model(name))
    engine.close()
    assert engine.spec.checkpoint_sha256 == checkpoint_sha256(path)


def test_paths_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_checkpoint("somewhere/else.pt") == Path("somewhere/else.pt")
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED[0]).write_bytes(b"mine")
    assert resolve_checkpoint(SHIPPED[0]) == Path(SHIPPED[0])


def test_a_package_without_its_checkpoint_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calanddet.model.catalog.SHIPPED", ("calanddet-absent",))
    with pytest.raises(ModelError, match="install calanddet again"):
        resolve_checkpoint("calanddet-absent")
