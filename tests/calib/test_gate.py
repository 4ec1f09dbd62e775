"""The gate: what it judges on, when it refuses, and that a blind calibration does not get by."""

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from calanddet.calib.calibration import CalibrationOptions
from calanddet.calib.gate import Evidence, Limits, shortfalls
from calanddet.calib.judged import GatePlan, calibrate_judged, refuse
from calanddet.calib.speed import Speed
from calanddet.cli.calibrate import calibrate
from calanddet.cli.outcome import reported
from calanddet.runtime.catalog import SHIPPED, resolve_model
from calanddet.runtime.errors import InputError, ModelError, OptionError
from calanddet.runtime.evaluation.comparison import Compared, Differences
from calanddet.runtime.metrics import Counts
from calanddet.runtime.model import open_model
from calanddet.runtime.plans.manifest import MANIFEST_FORMAT
from calanddet.runtime.spec import ModelSpec
from helpers.int8 import write_model
from helpers.pairs import painted

QUICK = CalibrationOptions(tiles=3, threads=1, method="minmax")
LOOSE = Limits(iou_drop=0.9, agreement=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, four pictures with masks, and a black one."""
    made = tmp_path_factory.mktemp("gate")
    write_model(made / "odd.onnx")
    for name in ("image", "mask", "black", "judge/image", "judge/mask"):
        (made / name).mkdir(parents=True)
    for index in range(4):
        rgb, truth = painted(index, 240 + 7 * index, 300)
        cv2.imwrite(str(made / "image" / f"{index}.png"), rgb[:, :, ::-1])
        cv2.imwrite(str(made / "mask" / f"{index}.png"), truth * 255)
    cv2.imwrite(str(made / "judge" / "image" / "9.png"), painted(9, 230, 310)[0][:, :, ::-1])
    cv2.imwrite(str(made / "judge" / "mask" / "9.png"), painted(9, 230, 310)[1] * 255)
    cv2.imwrite(str(made / "black" / "0.png"), np.zeros((448, 460, 3), np.uint8))
    return made


def counts(wrong: int) -> Counts:
    return Counts(tp=10_000 - wrong, fp=0, fn=wrong, tn=10_000)


def group(wrong: int, *, differing: int = 0) -> Compared:
    bins = np.zeros(255, np.int64)
    bins[0] = 20_000
    return Compared(1, Differences(bins, 20_000 - differing), counts(0), counts(wrong))


def test_it_refuses_by_iou_by_f1_and_by_agreement_with_the_figures() -> None:
    assert shortfalls({"scenes": group(50, differing=200)}, Limits()) == ()
    by_iou = shortfalls({"scenes": group(51)}, Limits())
    assert by_iou == ("IoU on scenes falls from 1.0000 to 0.9949, by more than 0.005",)
    assert len(shortfalls({"scenes": group(200)}, Limits())) == 2
    (by_agreement,) = shortfalls({"scenes": group(0), "held out": group(0, differing=201)}, Limits())
    assert "held out" in by_agreement
    assert "98.995%" in by_agreement


def test_unlabelled_images_are_judged_by_agreement_alone() -> None:
    apart = replace(group(0, differing=10_000), reference=None, candidate=None)
    (reason,) = shortfalls({"held out": apart}, Limits())
    assert "50.000%" in reason


@pytest.mark.parametrize(("ratio", "said"), [(1.04, True), (1.06, False), (0.9, True)])
def test_it_warns_where_int8_is_hardly_faster(ratio: float, said: bool) -> None:
    speed = Speed(ratio, ratio, ratio, "fp32", "an engine", 4)
    evidence = Evidence({"scenes": group(0)}, True, Limits(), (), "fp32", speed)
    assert evidence.passed
    assert bool(evidence.slow) is said
    assert (f"{ratio:.2f} times" in evidence.slow) is said


@pytest.mark.parametrize("wrong", [{"iou_drop": 0.0}, {"iou_drop": 1.0}, {"agreement": 1.1}, {"speedup": 0.0}])
def test_limits_out_of_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Limits(**wrong)


def test_the_evidence_is_in_the_metadata(folder: Path, tmp_path: Path) -> None:
    plan = GatePlan(LOOSE, masks=folder / "mask", tiles=4, searching=False)
    options = replace(QUICK, target="cpu", least_inner=12)
    judged = calibrate_judged(folder / "odd.onnx", [folder / "image"], options=options, plan=plan)
    digest = judged.save(tmp_path / "int8.onnx")
    with open_model(tmp_path / "int8.onnx") as opened:
        gate = opened.spec.gate
        assert opened.spec.doubt == ""
    assert gate == json.loads(json.dumps(judged.evidence.to_dict()))
    assert gate["passed"] is True
    assert set(gate["judged"]) == {"scenes", "held out"}
    assert gate["judged"]["held out"]["images"] == 1
    report = json.loads((tmp_path / "int8.onnx.json").read_text())
    assert report["gate"] == gate
    assert report["speed"]["against"] == "fp32"
    assert report["sha256"] == digest == hashlib.sha256((tmp_path / "int8.onnx").read_bytes()).hexdigest()
    assert judged.quantized.calibration.sample.images == 3, "one of four pictures is kept back"


def test_equal_calls_give_equal_bytes_although_the_speed_is_another(folder: Path, tmp_path: Path) -> None:
    options = replace(QUICK, target="cpu", least_inner=48)
    reports = []
    for name in ("one.onnx", "other.onnx"):
        plan = GatePlan(LOOSE, tiles=4, searching=False)
        calibrate_judged(folder / "odd.onnx", [folder / "image"], options=options, plan=plan).save(tmp_path / name)
        reports.append(json.loads((tmp_path / f"{name}.json").read_text()))
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()
    assert reports[0]["speed"] != reports[1]["speed"], "measured, so never the same twice"
    assert reports[0]["gate"] == reports[1]["gate"]


def test_a_black_calibration_of_the_shipped_model_is_caught(folder: Path) -> None:
    plan = GatePlan(tiles=4, searching=False)
    model = resolve_model(SHIPPED[0])
    evidence = calibrate_judged(model, [folder / "black"], options=QUICK, plan=plan).evidence
    assert not evidence.passed
    assert "0 of the 3 calibration tiles" in evidence.reasons[0]
    assert any("on scenes" in reason for reason in evidence.reasons[1:]), "the made scenes see it, too"
    with pytest.raises(ModelError, match=r"failed its gate and was not written: .*falls from 0"):
        refuse(evidence)


def calanddet_calibrate(*words: str | Path) -> Result:
    app = Typer()
    app.command()(reported(calibrate))
    given = [*map(str, words), "--threads", "1", "--tiles", "2", "--judge-tiles", "4", "--method", "minmax"]
    return CliRunner().invoke(app, given)


def test_the_command_writes_nothing_it_refuses_and_marks_what_is_forced(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "int8.onnx"
    words: list[str | Path] = [folder / "odd.onnx", folder / "image", "-o", out, "--no-search"]
    result = calanddet_calibrate(*words)
    assert result.exit_code == 1, result.output
    assert "failed its gate" in result.stderr
    assert "agree" in result.stderr
    assert list(tmp_path.iterdir()) == []
    result = calanddet_calibrate(*words, "--force", "--json")
    assert result.exit_code == 0, result.output
    printed, report = json.loads(result.stdout), json.loads((tmp_path / "int8.onnx.json").read_text())
    assert printed == {"path": str(out), "report": str(tmp_path / "int8.onnx.json"), **report}
    assert report["gate"]["passed"] is False
    logging.getLogger("calanddet").propagate = True
    for _ in range(2):  # every time
        caplog.clear()
        with caplog.at_level(logging.WARNING), open_model(out):
            pass
        assert "failed its gate" in caplog.text
        assert "agree" in caplog.text


def test_a_report_is_not_replaced_unasked_nor_written_over_by_the_cache(folder: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "int8.onnx", tmp_path / "int8.onnx.json"
    result = calanddet_calibrate(folder / "odd.onnx", folder / "image", "-o", out, "--cache", report)
    assert result.exit_code == 2
    assert "its report" in result.stderr
    report.write_text("mine")
    result = calanddet_calibrate(folder / "odd.onnx", folder / "image", "-o", out)
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert report.read_text() == "mine"
    assert not out.exists()


def test_fine_tuned_weights_may_draw_other_masks_but_no_worse_ones() -> None:
    other = {"scenes": group(50, differing=5_000)}
    evidence = Evidence({"scenes": group(0)}, True, Limits(), (), "fp32", None, began=other)
    assert evidence.passed
    assert evidence.to_dict()["before_fine_tuning"]["scenes"]["agreement"] == 0.75
    (reason,) = replace(evidence, began={"scenes": group(51)}).reasons
    assert reason.startswith("IoU on scenes, against the weights before fine-tuning, falls from 1.0000 to 0.9949")


def test_an_int8_model_that_met_no_gate_is_doubted() -> None:
    assert "nobody has compared" in ModelSpec(name="edge", precision="int8").doubt
    assert ModelSpec(name="edge").doubt == ""
    assert "gate" not in json.loads(ModelSpec(name="edge").to_json())
    failed = ModelSpec(name="edge", precision="int8", gate={"passed": False, "reasons": ["IoU falls"]})
    assert "IoU falls" in failed.doubt
    assert ModelSpec.from_json(failed.to_json()) == failed
    assert MANIFEST_FORMAT == 1, "the manifest's spec carries the gate, so a plan is doubted too"


def test_wrong_masks_are_refused_before_the_work(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no mask"):
        calibrate_judged(folder / "odd.onnx", [folder / "image"], plan=GatePlan(masks=tmp_path))
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((10, 20), np.uint8))
    with pytest.raises(InputError, match="10 x 20"):
        calibrate_judged(folder / "odd.onnx", [folder / "image" / "0.png"], plan=GatePlan(masks=tmp_path))
    one, masks = folder / "image" / "0.png", folder / "mask"
    with pytest.raises(InputError, match="too small"):
        calibrate_judged(folder / "odd.onnx", [one], plan=GatePlan(masks=masks))


def test_judging_on_what_is_calibrated_on_is_refused(folder: Path) -> None:
    images = [folder / "judge" / "image"]
    with pytest.raises(InputError, match="calibrated on"):
        calibrate_judged(folder / "odd.onnx", images, plan=GatePlan(judge=folder / "judge"))
