"""Weights of other runs and of ImageNet: what fits is taken, the rest is said."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from calanddet.model.network import PUBLISHED, TINY, CALandDet
from calanddet.model.transfer import from_torchvision, transfer
from calanddet.runtime.errors import ModelError
from helpers.rules import weights_by_rule


def to_torchvision(key: str) -> Any:
    """The inverse of the renaming, written from torchvision's own layout for depths 2, 2, 6, 2."""
    key = key.removeprefix("backbone.")
    if key.startswith("norm."):
        return key
    if key.startswith("patch_embed."):
        return key.replace("patch_embed.", "features.0.")
    found = re.fullmatch(r"features\.(\d)\.(\d)\.(.+)", key)
    assert found is not None
    stage, block, rest = found.groups()
    if int(block) == PUBLISHED.depths[int(stage)]:
        return f"features.{2 * int(stage) + 2}.{rest}"
    return f"features.{2 * int(stage) + 1}.{block}.{rest}"


def test_torchvision_swin_names_become_those_of_the_backbone() -> None:
    with torch.device("meta"):
        own = {k: v for k, v in CALandDet(PUBLISHED).state_dict().items() if k.startswith("backbone.")}
    theirs = {to_torchvision(key): value for key, value in own.items()} | {"head.weight": torch.zeros(1000, 768)}
    assert {"features.2.reduction.weight", "features.7.1.mlp.3.bias", "features.0.2.weight"} <= set(theirs)
    got = from_torchvision(theirs)
    assert set(got) == set(own) | {"head.weight"}
    assert all(got[key] is own[key] for key in own)


def test_transfer_takes_what_fits_and_says_what_does_not(tmp_path: Path) -> None:
    source = CALandDet(TINY)
    source.load_state_dict(weights_by_rule(source.state_dict()))
    tensors = source.state_dict()
    tensors["head.final.weight"] = torch.zeros(1, 4, 1, 1)
    tensors["extra"] = torch.zeros(2)
    del tensors["neck.layers.0.cro_attn.alpha"]
    torch.save({"state_dict": tensors}, tmp_path / "c.pt")
    target = CALandDet(TINY)
    before = target.head.final.weight.detach().clone()
    told = transfer(target, tmp_path / "c.pt")
    assert told.missing == ("neck.layers.0.cro_attn.alpha",)
    assert told.reshaped == ("head.final.weight",)
    assert told.unused == ("extra",)
    assert "1 not in the file" in str(told)
    torch.testing.assert_close(target.head.final.weight.detach(), before)
    torch.testing.assert_close(target.cls_head.head.weight, source.cls_head.head.weight)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (pickle.dumps(os.getcwd, protocol=2), "nothing of it was run"),
    ],
)
def test_what_cannot_be_transferred_is_told_in_one_line(tmp_path: Path, content: Any, sentence: str) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(ModelError, match=sentence) as caught:
        transfer(CALandDet(TINY), tmp_path / "c.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["nan", "complex", "whole"])
def test_weights_that_are_no_numbers_are_refused_and_nothing_is_taken(tmp_path: Path, kind: str) -> None:
    target, key = CALandDet(TINY), "cls_head.head.weight"
    before = {name: value.clone() for name, value in target.state_dict().items()}
    like = before[key]
    wrong = {
        "nan": torch.full_like(like, torch.nan),
        "complex": torch.zeros(like.shape, dtype=torch.complex64),
        "whole": torch.zeros(like.shape, dtype=torch.int32),
    }
    torch.save({**CALandDet(TINY).state_dict(), key: wrong[kind]}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match=key):
        transfer(target, tmp_path / "c.pt")
    torch.testing.assert_close(dict(target.state_dict()), before, rtol=0, atol=0)


def test_transfer_of_nothing_is_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3)}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match="nothing in"):
        transfer(CALandDet(TINY), tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="no PyTorch checkpoint"):
        transfer(CALandDet(TINY), tmp_path / "d.pt")
