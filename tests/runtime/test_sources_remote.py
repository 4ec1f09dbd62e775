"""Images on a web server: broken connections change no byte, and what does not answer is told."""

import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from calanddet.runtime import InputError, MapOptions, ResumeError, run
from calanddet.runtime.engines.null import NullEngine
from calanddet.runtime.model import Model
from calanddet.runtime.sources import find_inputs, gdal_options, open_source, remote, stem_of
from calanddet.runtime.sources.array import ArraySource
from calanddet.runtime.sources.patient import PatientSource
from calanddet.runtime.types import Pixels, Window
from helpers.numbers import random_rgb
from helpers.rasters import colours, write
from helpers.servers import flaky_server, silent_server
from helpers.stopped import results, write_image

AT_ONCE = (0.0,) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to serve, with a raster that has an internal mask, and one without."""
    (tmp_path / "www").mkdir()
    write_image(tmp_path / "www" / "area.tif", (700, 450))
    valid = np.ones((500, 700), np.bool_)
    valid[100:200] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(tmp_path / "www" / "masked.tif", colours(500, 700), mask=valid, tiled=True, blockxsize=128, blockysize=64)
    return tmp_path / "www"


@pytest.fixture
def model() -> Model:
    return Model(NullEngine(batch=4))


def test_dropped_connections_change_no_byte(folder: Path, model: Model, tmp_path: Path) -> None:
    run(model, folder / "area.tif", tmp_path / "disk")
    with flaky_server(folder, share=0.5, seed=3) as server:
        run(model, f"{server.url}/area.tif", tmp_path / "web")
        assert server.dropped >= 5
    assert results(tmp_path / "web") == results(tmp_path / "disk")


def test_a_mask_is_not_lost_with_a_connection(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory is at the file's end; where that is not given, GDAL opens the image as one without a mask."""
    monkeypatch.setattr("calanddet.runtime.sources.patient.READING_WAITS_S", AT_ONCE)
    monkeypatch.setattr(remote, "OPENING_WAITS_S", AT_ONCE)
    level = logging.getLogger("rasterio").level
    with flaky_server(folder, share=0.0) as server:
        url = f"{server.url}/masked.tif"
        server.change(end=10**6)
        with rasterio.Env(**gdal_options(url)):
            with pytest.raises(InputError, match="not given whole"):
                open_source(url)
            server.change(end=-1, share=0.5)
            with open_source(url) as source:
                pixels = source.read(Window(0, 0, 500, 700))
    assert pixels.valid.sum() == 500 * 700 - 100 * 700
    assert not pixels.valid[100:200].any()
    assert logging.getLogger("rasterio").level == level


def test_a_server_that_fails_for_a_while_is_waited_for_or_gone_on_from(
    folder: Path, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives nothing below the middle: the run ends, and goes on when it does."""
    monkeypatch.setattr("calanddet.runtime.sources.patient.READING_WAITS_S", (0.01,))
    size = write_image(folder / "long.tif", (2600, 900)).stat().st_size
    run(model, folder / "long.tif", tmp_path / "disk")
    with flaky_server(folder, share=0.0) as server:
        url = f"{server.url}/long.tif"
        server.change(end=size * 7 // 10)
        with pytest.raises(InputError, match=r"long\.tif was not given whole: rows"):
            run(model, url, tmp_path / "web", options=MapOptions(save_every_s=0))
        server.change(end=-1)
        (result,) = run(model, url, tmp_path / "web")
    assert result.report["resumed"] == 1
    assert results(tmp_path / "web") == results(tmp_path / "disk")


def test_an_image_that_changes_on_its_server_is_refused(folder: Path, model: Model, tmp_path: Path) -> None:
    with flaky_server(folder, share=0.0) as server:
        url = f"{server.url}/area.tif"

        def failing(done: int, total: int) -> None:
            raise InputError("enough")

        options = MapOptions(save_every_s=0, overlap=0)
        write_image(folder / "area.tif", (900, 450))
        with pytest.raises(InputError, match="enough"):
            run(model, url, tmp_path / "web", options=options, progress=lambda d, t: failing(d, t) if d == t else None)
        os.utime(folder / "area.tif", ns=(1, 1))
        with pytest.raises(ResumeError, match=r"area\.tif was modified since"):
            run(model, url, tmp_path / "web", options=options)


def test_a_server_that_never_answers_is_told(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ANSWER_S", 0.2)
    monkeypatch.setattr(remote, "OPENING_WAITS_S", (0.1, 0.1))
    begin = time.monotonic()
    with silent_server() as url, pytest.raises(InputError, match=rf"the server of {url}/area.tif does not answer"):
        run(model, f"{url}/area.tif", tmp_path)
    assert 0.6 < time.monotonic() - begin < 5
    with pytest.raises(InputError, match=r"does not answer \(.*refused"):
        open_source(f"{url}/area.tif")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_told_at_once(folder: Path) -> None:
    with flaky_server(folder, share=0.0) as server:
        with pytest.raises(InputError, match="the server says 404"):
            open_source(f"{server.url}/nothing.tif")
        assert server.asked == 1


@pytest.mark.parametrize("url", ["http://", "http://[::1/a.tif", "https://exa mple/a.tif"])
def test_what_is_no_address_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "OPENING_WAITS_S", ())
    with pytest.raises(InputError, match="address"):
        open_source(url)


def test_urls_are_inputs_of_their_own() -> None:
    url = "https://example.org/data/north%20slope.tif?token=a/b.c"
    assert find_inputs([url, url]) == [url]
    assert stem_of(url) == "north slope"
    assert stem_of("http://example.org:80/") == "example.org_80"
    with pytest.raises(InputError, match="no address"):
        find_inputs(["http://[::1/a.tif"])
    with pytest.raises(InputError, match="same outputs"):
        find_inputs(["http://a.org/x.tif", "http://b.org/x.png"])


class Moody(ArraySource):
    """Fails at the reads whose numbers are given, and at those of more than `most` pixels."""

    def __init__(self, failing: set[int], *, block: tuple[int, int] = (60, 70), most: int = 10**9) -> None:
        super().__init__(random_rgb(1, 60, 70))
        self.info = replace(self.info, block=block)
        self.failing, self.reads, self.most = failing, 0, most

    def read(self, window: Window) -> Pixels:
        self.reads += 1
        if self.reads in self.failing or window.height * window.width > self.most:
            raise InputError(f"read {self.reads} failed")
        return super().read(window)


def test_reads_are_repeated_and_waits_are_told(caplog: pytest.LogCaptureFixture) -> None:
    source, forgotten = Moody({1, 2, 3, 5}), []
    patient = PatientSource(lambda: source, afresh=lambda: forgotten.append(source.reads), waits_s=AT_ONCE)
    with caplog.at_level(logging.INFO, logger="calanddet"):
        first = patient.read(Window(0, 0, 20, 30))
    np.testing.assert_array_equal(first.rgb, random_rgb(1, 60, 70)[:20, :30])
    assert caplog.text.count("failed; again in") == 3
    patient.read(Window(0, 0, 20, 30))
    assert source.reads == 6
    assert forgotten == [0, 0, 2], "what came already is worth keeping the first time"
    short = PatientSource(lambda: Moody(set(range(9))), waits_s=(0.0, 0.0))
    with pytest.raises(InputError, match="read 1 failed"):
        short.read(Window(0, 0, 20, 30))


def test_what_does_not_come_whole_is_read_in_parts() -> None:
    source = Moody(set(), block=(16, 8), most=300)
    patient = PatientSource(lambda: source, waits_s=AT_ONCE)
    pixels = patient.read(Window(16, 8, 40, 50))
    np.testing.assert_array_equal(pixels.rgb, random_rgb(1, 60, 70)[16:56, 8:58])
    assert pixels.valid.all()


def test_a_block_whose_place_in_the_file_does_not_come_is_no_nodata(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GDAL takes it for one that was never written, and says so only in its log."""
    monkeypatch.setattr("calanddet.runtime.sources.patient.READING_WAITS_S", ())
    planes = colours(400, 400)
    write(tmp_path / "many.tif", planes, tiled=True, blockxsize=16, blockysize=16, nodata=0)
    with flaky_server(tmp_path, share=0.0) as server:
        url = f"{server.url}/many.tif"
        with rasterio.Env(**gdal_options(url)), open_source(url) as source:
            remote.forget(url)
            server.change(end=0)
            with pytest.raises(InputError, match=r"not given whole \(.*offset/size"):
                source.read(Window(384, 384, 16, 16))
            server.change(end=-1)
            np.testing.assert_array_equal(
                source.read(Window(384, 384, 16, 16)).rgb, planes[:, 384:, 384:].transpose(1, 2, 0)
            )


def test_an_interrupt_ends_the_waiting() -> None:
    patient = PatientSource(lambda: Moody(set(range(9))), waits_s=(60.0,))
    patient.interrupt()
    begin = time.monotonic()
    with pytest.raises(InputError, match="read 1 failed"):
        patient.read(Window(0, 0, 20, 30))
    assert time.monotonic() - begin < 1


def test_an_image_that_looks_different_when_it_is_opened_again_is_refused() -> None:
    sizes = iter([50, 50, 50, 51])

    def reopened() -> ArraySource:
        source = Moody(set(range(99)))
        source.info = replace(source.info, shape=(60, next(sizes)))
        return source

    patient = PatientSource(reopened, waits_s=AT_ONCE)
    with pytest.raises(InputError, match="changed meanwhile"):
        patient.read(Window(0, 0, 20, 30))
    flickering = iter(range(99))

    def different() -> ArraySource:
        source = Moody(set())
        source.info = replace(source.info, shape=(60, next(flickering)))
        return source

    with pytest.raises(InputError, match="looks different each time"):
        PatientSource(different, waits_s=(0.0,) * 3)
