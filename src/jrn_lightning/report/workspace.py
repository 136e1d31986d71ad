"""A saved view of the W&B project that shows one sweep, so that nobody has to click it together.

It needs ``wandb-workspaces``, W&B's own library, which is optional. The view reads what
:mod:`jrn_lightning.report.wandb` and the task log, by name.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import wandb_workspaces.reports.v2.interface as wr
import wandb_workspaces.workspaces as ws
from matplotlib.colors import to_hex, to_rgb
from wandb_workspaces import expr
from wandb_workspaces.workspaces import internal

from jrn_lightning.analysis.findings import BREAKAGE, GAIN, Findings
from jrn_lightning.analysis.summary import Summary
from jrn_lightning.keys import JOINT, UNTOUCHED
from jrn_lightning.report.style import look
from jrn_lightning.report.wandb import FRAMES, STEP, decomposition

_ARCHITECTURE = "arch.name"  # in the configuration of a run


def build(
    summary: Summary,
    *,
    entity: str,
    project: str,
    findings: Findings | None = None,
    figures: Iterable[str] = (),
) -> ws.Workspace:
    """The view of a sweep, not yet saved.

    Its runs are those of the group ``summary.name``, grouped by architecture and coloured by
    computation, a shade an architecture. Its sections are the answer (the comparison, A against ω,
    with findings also the sentences), gain and breakage where there are controls, findings,
    influence, performance, training and examples.

    Args:
        summary: of the sweep; its modalities, measures, directions and architectures are shown.
        entity: W&B user or team.
        project: W&B project.
        findings: of the sweep, as :func:`~jrn_lightning.report.wandb.log_report` logs them.
        figures: names of the further figures that it logs.
    """
    columns = [column for own in summary.columns.values() for column in own if column.in_table]
    pairs = {f"{s}_to_{t}": (s, t) for s, t in summary.directions}
    titles = {pair: f"Influence of {s} on {t}" for pair, (s, t) in pairs.items()}
    # The library reads a filter as code, in which it doubles every "=": escaped, a name is safe.
    group = "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in summary.name)
    losses = ["loss", *(f"loss_{m}" for m in summary.columns)]
    known = decomposition(findings) if findings is not None else {}
    split = [
        _bars(f"{effect.capitalize()}: {titles[pair]}", *names)
        for pair in pairs
        for effect in (GAIN, BREAKAGE)
        if (names := [name for name in known if name.startswith(f"{effect}/{pair}/")])
    ]
    found: list[wr.PanelTypes] = []
    if media := [f"figures/{name}" for name in figures]:
        found.append(wr.MediaBrowser(title="Figures", media_keys=media, num_columns=2))
    if findings is not None:
        frames = [name for name in FRAMES if len(getattr(findings, name))]
        found += [wr.WeavePanelSummaryTable(table_name=f"findings/{name}") for name in frames]
    words = [] if findings is None else [wr.WeavePanelSummaryTable(table_name="answer")]
    answer: list[wr.PanelTypes] = [
        *words,
        wr.WeavePanelSummaryTable(table_name="comparison"),
        *(
            wr.ScatterPlot(
                title=titles[pair],
                x=wr.SummaryMetric(f"omega/{pair}"),
                y=wr.SummaryMetric(f"A/{target}"),
            )
            for pair, (_, target) in pairs.items()
        ),
        wr.MediaBrowser(title="With intervals", media_keys=[f"figure7/{pair}" for pair in pairs]),
        wr.RunComparer(diff_only="split"),
    ]
    influence = [_bars(titles[pair], f"omega/{pair}") for pair in pairs]
    performance = [
        _bars(
            f"{c.label} of {c.modality}",
            *(f"test/{setup}/{c.modality}/{c.measure}" for setup in (JOINT, UNTOUCHED)),
        )
        for c in columns
    ]
    training = [
        *(_lines(loss, f"train/{loss}", f"val/{loss}") for loss in losses),
        *(_lines(f"{c.label} of {c.modality}", f"val/{JOINT}/{c.measure}") for c in columns),
        _lines("dead channels", "val/dead_channels"),
    ]
    examples = [wr.MediaBrowser(title="Example maps", media_keys=["examples"], num_columns=1)]
    workspace = ws.Workspace(
        entity=entity,
        project=project,
        # The library refuses symbols in a name.
        name="".join("-" if unicodedata.category(c)[0] == "S" else c for c in summary.name),
        sections=[
            _section("The answer", answer, 2),
            *([_section("Gain and breakage", split, 2)] if split else []),
            *([_section("Findings", found, 2)] if found else []),
            _section("Influence", influence, 2),
            _section("Performance", performance, 3),
            _section("Training", training, 3),
            _section("Examples", examples, 1),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=len(summary.jobs) + 1),
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


def _lines(title: str, *metrics: str) -> wr.LinePlot:
    return wr.LinePlot(title=title, x=STEP, y=list(metrics))


def _colours(summary: Summary) -> dict[object, object]:
    """Architecture -> the colour of its computation as in Figure 7, ever paler."""
    rows = summary.architectures[summary.architectures["arch"] != UNTOUCHED]
    before: Counter[str] = Counter()
    colours: dict[object, object] = {}
    for arch, computation in zip(rows["arch"], rows["computation"], strict=True):
        colour, _ = look(computation)
        strength = 0.7 ** before[colour]
        before[colour] += 1
        red, green, blue = (1 - strength * (1 - x) for x in to_rgb(colour))
        colours[arch] = to_hex((red, green, blue))
    return colours
