import sys
from pathlib import Path

import pytest

from calanddet.runtime import ModelError
from calanddet.runtime.catalog import SHIPPED, resolve_model
from calanddet.runtime.checkup import checkup


def test_the_checkup_finds_what_is_needed_and_says_why_not_more() -> None:
    findings = {finding.topic: finding for finding in checkup()}
    assert all(finding.good for finding in findings.values() if finding.needed)
    assert "tiles/s" in findings["self-test"].said
    assert findings["processor"].said.endswith("usable cores")
    assert all(finding.said for finding in findings.values())
    assert "topic" not in findings["memory"].as_dict()


def test_a_missing_model_fails_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calanddet.runtime.catalog.SHIPPED", ("calanddet-absent",))
    (finding,) = [finding for finding in checkup() if finding.topic == "self-test"]
    assert finding.needed
    assert not finding.good
    assert "install calanddet again" in finding.said


def test_a_package_that_cannot_be_imported_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "calanddet.runtime.engines.ort", raising=False)
    findings = {finding.topic: finding for finding in checkup()}
    for topic in ("onnxruntime", "self-test"):
        assert findings[topic].needed
        assert not findings[topic].good
        assert "onnxruntime" in findings[topic].said
    assert findings["rasters"].good


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_are_small_files_in_the_package(name: str) -> None:
    path = resolve_model(name)
    assert path.parent.name == "models"
    assert path.stat().st_size < 25_000_000


def test_a_file_of_a_shipped_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED[0]).write_bytes(b"mine")
    assert resolve_model(SHIPPED[0]) == Path(SHIPPED[0])


def test_a_folder_of_a_shipped_name_does_not_hide_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / SHIPPED[0]).mkdir()
    assert resolve_model(SHIPPED[0]).is_file()


def test_a_name_that_no_file_can_have_is_refused() -> None:
    with pytest.raises(ModelError, match="File name too long"):
        resolve_model("m" * 300)


def test_another_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(ModelError, match="calanddet-edge"):
        resolve_model("calanddet-huge")
