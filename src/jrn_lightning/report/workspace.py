"""A saved view of the W&B project that shows one sweep, so that nobody has to click it together.

It needs ``wandb-workspaces``, W&B's own library, which is optional. The view reads what the report
run and the runs of the jobs have logged, by name.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

import wandb_workspaces.reports.v2.interface as wr
import wandb_workspaces.workspaces as ws
from matplotlib.colors import to_hex, to_rgb
from wandb_workspaces import expr
from wandb_workspaces.workspaces import internal

from jrn_lightning.analysis.findings import BREAKAGE, GAIN
from jrn_lightning.analysis.summary import Summary
from jrn_lightning.keys import JOINT, UNTOUCHED
from jrn_lightning.report.style import look

_ARCHITECTURE = "arch.name"  # in the configuration of a run


def build(
    summary: Summary, *, entity: str, project: str, step: str, logged: Collection[str] = ()
) -> ws.Workspace:
    """The view of a sweep, not yet saved.

    Its runs are those of the group ``summary.name``, grouped by architecture and coloured by
    computation, a shade an architecture. Its sections are the answer (the comparison, A against ω,
    with findings also the sentences), gain and breakage where there are controls, findings,
    influence and improvement, performance, training and examples.

    Args:
        summary: of the sweep; its modalities, measures, directions and architectures are shown.
        entity: W&B user or team.
        project: W&B project.
        step: name of the step that training metrics are drawn over.
        logged: names of what the report run has logged, as
            :func:`~jrn_lightning.report.wandb.log_report` names it.
    """
    pairs = {f"{s}_to_{t}": (s, t) for s, t in summary.directions}
    # The library reads a filter as code, in which it doubles every "=": escaped, a name is safe.
    group = "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in summary.name)
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        # The library refuses symbols in a name.
        name="".join("-" if unicodedata.category(c)[0] == "S" else c for c in summary.name),
        sections=[
            *_report_sections(pairs, logged),
            *_run_sections(summary, pairs, step),
        ],
        settings=ws.WorkspaceSettings(x_axis=step, max_runs=len(summary.jobs) + 1),
        runset_settings=ws.RunsetSettings(
            filters=f"Metric('Group') == '{group}'",
            groupby=[expr.Config(_ARCHITECTURE)],
            group_colors=_colours(summary),
            pinned_columns=[
                *(f"summary:omega/{pair}" for pair in pairs),
                *(f"summary:A/{modality}" for modality in summary.columns),
            ],
        ),
    )
    # The library would draw a random name, of a new view every time.
    own = hashlib.sha256(summary.name.encode()).hexdigest()[:11]
    workspace._internal_name = internal._url_query_str_to_internal_name(own)
    return workspace


def _report_sections(
    pairs: Mapping[str, tuple[str, str]], logged: Collection[str]
) -> Iterator[ws.Section]:
    """What the report run has logged: the answer, gain and breakage, findings."""
    tables = [*(["answer"] if "answer" in logged else []), "comparison"]
    answer: list[wr.PanelTypes] = [wr.WeavePanelSummaryTable(table_name=name) for name in tables]
    answer += [
        wr.ScatterPlot(
            title=_title(*pair),
            x=wr.SummaryMetric(f"omega/{name}"),
            y=wr.SummaryMetric(f"A/{pair[1]}"),
        )
        for name, pair in pairs.items()
    ]
    media = [f"figure7/{name}" for name in pairs]
    answer += [wr.MediaBrowser(title="With intervals", media_keys=media)]
    yield _section("The answer", [*answer, wr.RunComparer(diff_only="split")], 2)
    split = [
        _bars(f"{effect.capitalize()}: {_title(*pair)}", *names)
        for pair_name, pair in pairs.items()
        for effect in (GAIN, BREAKAGE)
        if (names := [name for name in logged if name.startswith(f"{effect}/{pair_name}/")])
    ]
    if split:
        yield _section("Gain and breakage", split, 2)
    found: list[wr.PanelTypes] = []
    if pictures := [name for name in logged if name.startswith("figures/")]:
        found.append(wr.MediaBrowser(title="Figures", media_keys=pictures, num_columns=2))
    frames = [name for name in logged if name.startswith("findings/")]
    found += [wr.WeavePanelSummaryTable(table_name=name) for name in frames]
    if found:
        yield _section("Findings", found, 2)


def _run_sections(
    summary: Summary, pairs: Mapping[str, tuple[str, str]], step: str
) -> Iterator[ws.Section]:
    """What the runs of the jobs have logged: influence first, then performance and training."""
    columns = [column for own in summary.columns.values() for column in own if column.in_table]
    influence = [_bars(_title(*pair), f"omega/{name}") for name, pair in pairs.items()]
    influence += [
        _bars(f"Improvement of {m}: {c.label}", f"improvement/{m}/{c.measure}")
        for m, c in summary.primary.items()
    ]
    yield _section("Influence and improvement", influence, 2)
    performance = [
        _bars(
            f"{c.label} of {c.modality}",
            *(f"test/{setup}/{c.modality}/{c.measure}" for setup in (JOINT, UNTOUCHED)),
        )
        for c in columns
    ]
    yield _section("Performance", performance, 3)
    losses = ["loss", *(f"loss_{m}" for m in summary.columns)]
    training = [
        *(_lines(loss, step, f"train/{loss}", f"val/{loss}") for loss in losses),
        *(_lines(f"{c.label} of {c.modality}", step, f"val/{JOINT}/{c.measure}") for c in columns),
        _lines("dead channels", step, "val/dead_channels"),
    ]
    yield _section("Training", training, 3)
    examples = [wr.MediaBrowser(title="Example maps", media_keys=["examples"], num_columns=1)]
    yield _section("Examples", examples, 1)


def save(workspace: ws.Workspace) -> str:
    """Save ``workspace`` in the place of an earlier one of the same sweep.

    What somebody changed by hand in that one is lost; a copy of it under another name is safe.

    Returns:
        Its address.
    """
    name = internal._internal_name_to_url_query_str(workspace._internal_name)
    # The server overwrites a view whose id it is told; the library knows that of one it has read.
    with contextlib.suppress(ValueError):  # there is none yet
        earlier = internal.get_view_dict(workspace.entity, workspace.project, name)
        workspace._internal_id = earlier["id"]
    workspace.save()
    return str(workspace.url)


# -- parts -------------------------------------------------------------------------------------


def _section(name: str, panels: Sequence[wr.PanelTypes], columns: int) -> ws.Section:
    """An open section as high as its panels need."""
    rows = max(1, math.ceil(len(panels) / columns))
    layout = ws.SectionLayoutSettings(columns=columns, rows=rows)
    return ws.Section(name=name, panels=list(panels), is_open=True, layout_settings=layout)


def _bars(title: str, *metrics: str) -> wr.BarPlot:
    """A bar an architecture and metric: the mean over its seeds, and their range."""
    return wr.BarPlot(
        title=title,
        metrics=list(metrics),
        groupby=wr.Config(_ARCHITECTURE),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _lines(title: str, step: str, *metrics: str) -> wr.LinePlot:
    return wr.LinePlot(title=title, x=step, y=list(metrics))


def _title(source: str, target: str) -> str:
    return f"Influence of {source} on {target}"


def _colours(summary: Summary) -> dict[object, object]:
    """Architecture -> the colour of its computation as in Figure 7, ever paler."""
    rows = summary.architectures[summary.architectures["arch"] != UNTOUCHED]
    before: Counter[str] = Counter()
    colours: dict[object, object] = {}
    for arch, computation in zip(rows["arch"], rows["computation"], strict=True):
        colour = look(computation).colour
        strength = 0.7 ** before[colour]
        before[colour] += 1
        red, green, blue = (1 - strength * (1 - x) for x in to_rgb(colour))
        colours[arch] = to_hex((red, green, blue))
    return colours
