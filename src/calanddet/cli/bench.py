"""`calanddet bench`: measure models, compare records, draw them."""

import sys
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from calanddet.cli.groups import Defaulted
from calanddet.cli.outcome import reported
from calanddet.cli.progress import ProgressKind, shown

if TYPE_CHECKING:
    from calanddet.benchmarks.compare import Comparison, Side
    from calanddet.benchmarks.plan import MapPlan
    from calanddet.benchmarks.record import Record

__all__ = ["bench"]

bench = typer.Typer(
    cls=Defaulted,
    help="Latency and throughput with accuracy and energy in one record: `calanddet bench MODEL...` measures, "
    "`bench compare` compares two records, `bench report` draws them.",
    no_args_is_help=True,
    subcommand_metavar="MODEL... | COMMAND ...",
    pretty_exceptions_enable=False,
)


class MapsName(str, Enum):
    """Whether whole images are mapped too, and from what."""

    none = "none"
    run = "run"
    all = "all"


def measure(
    models: Annotated[
        list[str], typer.Argument(help="Models side by side: .onnx files or names of shipped ones.", metavar="MODEL...")
    ],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The record to write, a name ending .json.")] = None,
    report_to: Annotated[Path | None, typer.Option("--report", help="Draw it too, as this HTML file.")] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, such as 1,8.")] = "1,8",
    engine: Annotated[str, typer.Option(help="Engines, such as cpu,openvino; as for `run`.")] = "auto",
    threads: Annotated[str, typer.Option(help="CPU threads, such as 1,2; 0 takes every core.")] = "0",
    seconds: Annotated[float, typer.Option(help="For each batch size: of latency, and of throughput.")] = 10.0,
    rate: Annotated[
        float | None, typer.Option(help="A camera's tiles/s for the open loop; 0 for none, by default 0.7 of the most.")
    ] = None,
    sustained: Annotated[float, typer.Option(help="Seconds at full rate, to find throttling.")] = 0.0,
    maps: Annotated[
        MapsName, typer.Option(help="Whole images: none; run; all (also from memory and each compression).")
    ] = MapsName.none,
    image: Annotated[Path | None, typer.Option(help="For maps; a made scene where there is none.")] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of maps, cut from the middle; several with commas.")] = (
        "2048x1536"
    ),
    images: Annotated[
        Path | None, typer.Option(help="Images for the accuracy of what was timed, with --masks or their own.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="Their masks.")] = None,
    scenes: Annotated[int, typer.Option(help="Without images: accuracy on so many made scenes; 0 for none.")] = 4,
    gsd: Annotated[float, typer.Option(help="Ground sampling distance for areas, in metres.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Of tiles, scenes and the order of measuring.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a record of that name.")] = False,
    progress: Annotated[ProgressKind, typer.Option(help="How progress is shown on stderr.")] = ProgressKind.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure models: cold start, latency, throughput, memory, energy, accuracy; the word `measure` can be left out."""
    from calanddet.benchmarks.bench import Bench
    from calanddet.benchmarks.candidate import candidates
    from calanddet.benchmarks.plan import BenchPlan, TruthPlan
    from calanddet.benchmarks.record import write_record
    from calanddet.benchmarks.report.page import write_page
    from calanddet.cli.outcome import notices
    from calanddet.runtime.errors import CalanddetError

    notices()
    _refuse_to_replace([path for path in (out, report_to) if path is not None], overwrite=overwrite)
    truth = TruthPlan(images, masks, scenes) if images is not None or scenes > 0 else None
    plan = BenchPlan(
        batches=_numbers(batch, "--batch"),
        seconds=seconds,
        rate=rate,
        sustained_s=sustained,
        maps=_map_plan(maps, image, size),
        truth=truth,
        gsd_m=gsd,
        seed=seed,
    )
    ways = candidates(models, [name.strip() for name in engine.split(",")], list(_numbers(threads, "--threads")))
    with shown("measuring", "%", progress) as update:
        run = Bench(
            ways,
            plan,
            progress=lambda what, share: update(round(100 * share), 100),
            keep=None if out is None else partial(write_record, path=out),
        )
        record = run.run()
    files: list[Path] = []
    try:  # whatever cannot be written, the figures are printed
        if out is not None:
            write_record(record, out)
            files.append(out)
        if report_to is not None:
            write_page([(report_to.stem, record)], report_to)
            files.append(report_to)
    finally:
        _print_record(record, files, as_json=as_json)
    if run.interrupted:
        raise KeyboardInterrupt
    if run.failure is not None:
        raise run.failure
    if run.problems:
        raise CalanddetError(f"not everything could be measured: {run.problems[0]}{_more(run.problems)}")


def compare(
    first: Annotated[str, typer.Argument(help="A record, or RECORD.json#NAME for one candidate of it.", metavar="A")],
    second: Annotated[str, typer.Argument(help="The one that must not be slower.", metavar="B")],
    tolerance: Annotated[
        float, typer.Option(help="A regression is more than this share slower, beyond doubt (95 %).")
    ] = 0.02,
    across: Annotated[
        bool, typer.Option("--across", help="Ratios between different machines, without a verdict.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Ratios of times, B over A, with their intervals; exit 1 where B is slower, or lacks what A has."""
    from calanddet.benchmarks import compare as comparing
    from calanddet.benchmarks.ratios import Verdict
    from calanddet.runtime.errors import CalanddetError

    a, b = _side(first), _side(second)
    for text, side in ((first, a), (second, b)):
        if not side.record.complete:
            note = f"{text} is of a run that did not come to its end: what is missing was not measured"
            print(f"calanddet: {note}", file=sys.stderr)
    if not across:
        comparing.refuse_other_machine(a.record, b.record)
    found = comparing.compare(a, b, tolerance=tolerance)
    _print_comparison(found, judged=not across, as_json=as_json)
    bad = [one for one in found if one.verdict in (Verdict.slower, Verdict.missing)]
    if bad and not across:
        said = [_sentence(one) for one in bad]
        raise CalanddetError(f"{len(bad)} of {len(found)} measurements are worse: {said[0]}{_more(said)}")


def report(
    records: Annotated[list[Path], typer.Argument(help="Records of `calanddet bench`.", metavar="RECORD...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.")] = Path("bench.html"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page of that name.")] = False,
) -> None:
    """One HTML page with tables and plots that opens without a network."""
    from calanddet.benchmarks.record import read_record
    from calanddet.benchmarks.report.page import write_page

    _refuse_to_replace([out], overwrite=overwrite)
    write_page([(path.stem, read_record(path)) for path in records], out)
    print(out)


for command in (measure, compare, report):
    bench.command()(reported(command))


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"whole numbers with commas, such as 1,8, not {text}", param_hint=option) from None


def _map_plan(maps: MapsName, image: Path | None, size: str) -> "MapPlan | None":
    from calanddet.benchmarks.imagery import FORMS
    from calanddet.benchmarks.mapping import RUN
    from calanddet.benchmarks.plan import MapPlan
    from calanddet.cli.synth import shape_of

    if maps is MapsName.none:
        return None
    sizes = tuple(shape_of(one) for one in size.split(","))
    return MapPlan(sizes, image, (RUN,) if maps is MapsName.run else (*FORMS, RUN))


def _refuse_to_replace(paths: list[Path], *, overwrite: bool) -> None:
    """Raise OutputError for what would be replaced unasked, or cannot be written: before minutes of measuring."""
    import os

    from calanddet.runtime.errors import OutputError

    for path in paths:
        if path.exists() and not overwrite:
            raise OutputError(f"{path} is there already: give another name, or --overwrite to replace it")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder for {path} cannot be made: {error.strerror}") from error
        if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path} cannot be written: give a file in a folder that can be written to")


def _side(text: str) -> "Side":
    """PATH, or PATH#NAME for one candidate."""
    from calanddet.benchmarks.compare import Side
    from calanddet.benchmarks.record import read_record

    path, mark, name = text.rpartition("#")
    if not mark or Path(text).exists():
        return Side(read_record(Path(text)))
    return Side(read_record(Path(path)), name)


def _print_record(record: "Record", files: list[Path], *, as_json: bool) -> None:
    """The figures as tables, or as JSON with the samples left out."""
    import json

    from calanddet.benchmarks.report.plots import figures_of
    from calanddet.benchmarks.report.tables import candidate_table, dense, latency_table, rate_table

    if as_json:
        cases = [
            {"candidate": case.candidate, "kind": case.kind, "batch": case.batch, "settings": dict(case.settings)}
            | summary.to_dict()
            for case, summary in figures_of(record)
        ]
        print(json.dumps({"notes": list(record.notes), "cases": cases, "files": list(map(str, files))}, indent=2))
        return
    for note in record.notes:
        print(f"note: {note}")
    for heads, rows in map(dense, (candidate_table(record), latency_table(record), rate_table(record))):
        _print_words(list(heads), rows)
    for path in files:
        print(path)


def _print_comparison(found: "list[Comparison]", *, judged: bool, as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps([one.to_dict() for one in found], indent=2))
        return
    heads, rows = ["A", "B", "what", "time B / A", "measured", *(["verdict"] if judged else [])], list[list[str]]()
    for one in found:
        told = one.problem if one.ratio is None else str(one.ratio)
        way = "side by side" if one.paired else "apart"
        rows.append([one.a, one.b, one.what, told, way, *([one.verdict.value] if judged else [])])
    _print_words(heads, rows)


def _sentence(one: "Comparison") -> str:
    if one.ratio is None:
        return f"{one.b} lacks {one.what} ({one.problem})"
    return f"{one.b}, {one.what}, takes {one.ratio} times as long"


def _more(sentences: list[str]) -> str:
    return f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""


def _print_words(heads: list[str], rows: list[list[str]]) -> None:
    """Columns to the left, and an empty line after them; nothing where there is a head alone."""
    from calanddet.cli.table import print_columns

    if rows:
        print_columns(heads, rows, side="<")
        print()
