"""W&B: the only file that knows it, but for the panels of ``workspace.py``, which it saves.

Runs are offline where no key is set, online where one is; nothing ever asks for a key or waits
without an end. Each run is an object of its own: ``wandb.run`` and the environment stay as they
are, so that two jobs in one process cannot write into each other.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import math
import secrets
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import wandb
from matplotlib.figure import Figure
from pytorch_lightning.utilities import rank_zero_only
from wandb.errors import AuthenticationError
from wandb.sdk.lib import wbauth

from jrn_lightning import keys
from jrn_lightning.analysis.findings import BREAKAGE, GAIN, Findings
from jrn_lightning.analysis.summary import Summary, columns_of, improvement
from jrn_lightning.errors import ConfigError
from jrn_lightning.report import tables
from jrn_lightning.report.answer import answer
from jrn_lightning.report.figures import influence_figures

Mode = Literal["auto", "online", "offline", "disabled"]

PROJECT = "jrn-lightning"
TRAIN, REPORT = "train", "report"  # job types
#: frames of the findings that are logged; the others have a row an image or a network
FRAMES = ("effects", "differences", "mute_values", "strata", "ladder", "peaks", "protocols")
STEP = "trainer/global_step"  # what Lightning's WandbLogger logs beside every metric

_FINISH_SECONDS = 120.0  # for the upload at the end; what is left can be synced from disk

_log = logging.getLogger(__name__)


def start_run(
    folder: Path,
    *,
    sweep: str,
    arch: Mapping[str, Any],
    seed: int,
    fingerprint: str,
    config: Mapping[str, Any],
    best: Mapping[str, Literal["min", "max"]],
    project: str = PROJECT,
    entity: str | None = None,
    mode: Mode = "auto",
    timeout: float = 30.0,
) -> wandb.Run:
    """Begin the W&B run of one job, to be handed to Lightning as ``WandbLogger(experiment=run)``.

    The same job in the same folder gets the same run, so that a resumed one goes on in it. In
    processes of rank above 0 the run does nothing.

    Args:
        folder: folder of the job; the run's files lie in its ``wandb``.
        sweep: name of the sweep, the group of the run.
        arch: ``name``, ``operation`` and ``computation`` of the architecture, and what else.
        seed: the job's seed.
        fingerprint: of the job's configuration.
        config: composed configuration, nested; shown in W&B.
        best: names of logged metrics whose best value, not the last, is the summary, and whether
            that is the smallest or the largest. W&B knows the summary as ``<name>.min``. Names
            in full: of two patterns that match a metric, W&B follows one at random.
        project: W&B project.
        entity: W&B user or team, None for the default.
        mode: ``auto`` is ``$WANDB_MODE`` where set, else online with a key and offline without.
        timeout: seconds after which an unreachable server means offline.

    Raises:
        ValueError: a pattern in ``best``.
        ConfigError: W&B cannot write to ``folder``.
    """
    if patterns := [name for name in best if "*" in name]:
        raise ValueError(f"best wants metric names in full, got {', '.join(patterns)}")
    run = _init(
        folder,
        identity=fingerprint,
        mode=mode,
        timeout=timeout,
        project=project,
        entity=entity,
        group=sweep,
        name=f"{arch['name']}-seed{seed}",
        job_type=TRAIN,
        tags=[str(arch[key]) for key in ("name", "operation", "computation") if arch.get(key)],
        # As the report names it, which has more to say than the choice of ``conf/arch``.
        config=dict(config) | {"arch": dict(arch)},
    )
    # As WandbLogger does for the runs that it begins itself.
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP, step_sync=True)
    for name, direction in best.items():
        run.define_metric(name, step_metric=STEP, step_sync=True, summary=direction)
    return run


def log_results(run: wandb.Run, results: Mapping[str, Any], panel: Figure | None = None) -> None:
    """Write a job's results: test metrics, A, improvement and ω as summary, all rows as tables.

    What W&B cannot write is a warning: the job and its record stand without it. Improvement and ω
    of the primary measures are logged, too, so that W&B charts them. The tables
    ``results/<kind>`` lie in the summary alone: logged, the counts of their rows and columns would
    be charts, the first ones.

    The summary holds the first protocol and pooling. Its names are
    ``test/<setup>/<modality>/<measure>``, ``A/<modality>`` of the joint setup,
    ``improvement/<modality>/<measure>`` and ``omega/<source>_to_<target>``, the latter two with
    ``_low`` and ``_high`` beside them.

    Args:
        run: from :func:`start_run`.
        results: the job record.
        panel: example maps.
    """
    summary: dict[str, Any] = {
        "status": results["status"],
        "warnings": "\n".join(results.get("warnings", ())),
    }
    primary = {
        (column.modality, column.measure): column
        for modality, entry in results.get("modalities", {}).items()
        for column in columns_of(modality, entry)
        if column.measure == entry["primary"]
    }
    protocol = next(iter(results.get("protocols", ())), None)
    pooling = next(iter(results.get("poolings", ())), None)

    def shown(kind: str) -> Iterable[Mapping[str, Any]]:
        for row in results.get(kind, ()):
            if (row["protocol"], row["pooling"]) == (protocol, pooling):
                yield row

    for row in shown("metrics"):
        summary[f"test/{row['setup']}/{row['modality']}/{row['measure']}"] = row["value"]
        column = primary.get((row["modality"], row["measure"]))
        if row["setup"] == keys.JOINT and column is not None and row["value"] is not None:
            summary[f"A/{row['modality']}"] = column.performance(row["value"])
    for row in shown("improvement"):
        _with_interval(summary, f"improvement/{row['modality']}/{row['measure']}", row)
    for row in shown("influence"):
        if (row["target"], row["measure"]) in primary:
            _with_interval(summary, f"omega/{row['source']}_to_{row['target']}", row)
    run.summary.update({key: value for key, value in summary.items() if value is not None})
    names = [f"improvement/{m}/{measure}" for m, measure in primary]
    names += [key for key in summary if key.startswith("omega/") and f"{key}_low" in summary]
    log = {key: summary[key] for key in names if summary.get(key) is not None}

    try:
        if panel is not None:
            log["examples"] = wandb.Image(panel)
        if log:
            run.log(log)
        for kind in ("metrics", "improvement", "influence"):
            if rows := results.get(kind):
                run.summary.update({f"results/{kind}": _table(pd.DataFrame(rows))})
    except Exception as error:  # W&B writes these to disk, here and in its own data folder
        _log.warning("W&B could not write tables and examples (%s).", error)


def finish(run: wandb.Run, *, failed: bool = False) -> None:
    """End ``run`` and say where it lies; what cannot be uploaded in time stays on disk."""
    run.finish(exit_code=1 if failed else 0)
    if not run.disabled:
        _log.info("W&B: %s", where(run))


def where(run: wandb.Run) -> str:
    """Address of ``run``, or how to upload it."""
    if run.disabled:
        return "disabled"
    if run.offline:
        return f"offline, upload with: wandb sync {Path(run.dir).parent}"
    return run.url or run.path


def log_report(
    summary: Summary,
    folder: Path,
    *,
    findings: Findings | None = None,
    figures: Mapping[str, Figure] | None = None,
    project: str = PROJECT,
    entity: str | None = None,
    mode: Mode = "auto",
    timeout: float = 30.0,
) -> str:
    """Write the comparison of a sweep as one run of job type ``report``.

    It holds the table ``comparison`` (the untouched input, the architectures, the published rows),
    the table ``jobs``, and for each direction of influence a scatter plot over the columns of
    ``comparison`` (measured and published apart, whose inputs differ) and the picture of Figure 7.
    With findings, also the table ``answer`` of sentences, a table ``findings/<frame>`` of each
    frame of :data:`FRAMES` that has rows, with its intervals, and :func:`decomposition` as
    summary; and a picture ``figures/<name>`` of each further figure. Written again, it takes the
    place of the earlier one. Online, a saved view of the project shows the sweep's runs in panels,
    see :mod:`jrn_lightning.report.workspace`.

    Args:
        summary: what to write.
        folder: folder of the sweep.
        findings: what its analysis has found.
        figures: name -> figure, to be shown beside.
        project: as in :func:`start_run`, like the rest.
        entity: W&B user or team.
        mode: when to be online.
        timeout: seconds to wait for the server.

    Returns:
        Address of the run, and of the saved view; or how to upload the run.

    Raises:
        ConfigError: W&B cannot write to ``folder``.
    """
    run = _init(
        folder,
        identity=REPORT,
        mode=mode,
        timeout=timeout,
        project=project,
        entity=entity,
        group=summary.name,
        name=f"{summary.name}-report",
        job_type=REPORT,
        tags=[REPORT],
        config={
            "sweep": summary.name,
            "protocol": summary.protocol,
            "pooling": summary.pooling,
            "jobs": len(summary.jobs),
            "finished": summary.finished,
        },
    )
    if run.disabled:
        return where(run)
    try:
        log = _report(summary, findings, figures or {})
        found: dict[str, Any] = {"finished": summary.finished, "jobs": len(summary.jobs)}
        if findings is not None:
            found |= decomposition(findings)
        run.log(log)
        run.summary.update(found)
    except Exception as error:
        run.finish(exit_code=1)
        raise ConfigError(
            f"W&B cannot write the report of {folder} ({error}). Is there space, and are the "
            "folder and WANDB_DATA_DIR writable?"
        ) from error
    run.finish()
    if run.offline:
        _remove_superseded(run)
        return where(run)
    view = _save_workspace(summary, run, [*log, *found])
    return f"{where(run)}, panels: {view}" if view else where(run)


def _report(
    summary: Summary, findings: Findings | None, figures: Mapping[str, Figure]
) -> dict[str, Any]:
    """What the run of a report logs, by name."""
    comparison = comparison_frame(summary)
    log: dict[str, Any] = {"comparison": _table(comparison), "jobs": _table(_jobs(summary))}
    for (source, target), figure in influence_figures(summary).items():
        pair, x, y = f"{source}_to_{target}", f"omega_{source}_to_{target}", f"A_{target}"
        for kind, name in (("measured", "influence"), ("published", "influence_published")):
            rows = comparison[(comparison["kind"] == kind) & comparison[x].notna()]
            if len(rows):
                title = f"Influence of {source} on {target}, {kind}"
                log[f"{name}/{pair}"] = wandb.plot.scatter(_table(rows), x, y, title=title)
        log[f"figure7/{pair}"] = wandb.Image(figure)
    log |= {f"figures/{name}": wandb.Image(figure) for name, figure in figures.items()}
    if findings is not None:
        log["answer"] = _table(pd.DataFrame({"answer": answer(findings)}))
        frames = {name: getattr(findings, name) for name in FRAMES}
        log |= {f"findings/{name}": _table(rows) for name, rows in frames.items() if len(rows)}
    return log


def comparison_frame(summary: Summary) -> pd.DataFrame:
    """The comparison with columns that W&B can plot: plain names, numbers, A beside ω.

    Columns: ``kind`` (``input``, ``measured`` or ``published``), ``architecture``,
    ``computation``, ``operation``, ``source``, ``fusion_channels``, ``seeds``, ``planned``; then
    ``<modality>_<measure>``, ``A_<modality>``, ``improvement_<modality>`` and
    ``omega_<source>_to_<target>``, with ``_low`` and ``_high`` where there is an interval.
    """
    table = tables.frame(summary).rename(columns={"arch": "architecture"})
    table = table[table["kind"] != "job"].replace({"kind": {"mean": "measured"}})
    words = ["kind", "architecture", "computation", "operation", "source"]
    numbers = table.drop(columns=[*words, "status", "seed"], errors="ignore").apply(pd.to_numeric)
    for modality, column in summary.primary.items():
        numbers[f"A_{modality}"] = column.performance(numbers[column.key])

    def plain(name: str) -> str:
        for modality, column in summary.primary.items():
            name = name.replace(improvement(column), f"improvement_{modality}")
        return name.replace("/", "_").replace("->", "_to_")

    return table.reindex(columns=words).join(numbers.rename(columns=plain))


def decomposition(findings: Findings) -> dict[str, float]:
    """Gain and breakage as the report run has them in its summary, for a bar plot.

    Returns:
        ``<effect>/<source>_to_<target>/<arch>``, what is known of them; their intervals are in
        the table ``findings/effects``.
    """
    effects = findings.effects
    chosen = effects[effects["effect"].isin((GAIN, BREAKAGE)) & effects["value"].notna()]
    return {
        f"{row['effect']}/{row['source']}_to_{row['target']}/{row['arch']}": float(row["value"])
        for _, row in chosen.iterrows()
    }


# -- parts -------------------------------------------------------------------------------------


def _init(folder: Path, *, identity: str, mode: Mode, timeout: float, **options: Any) -> wandb.Run:
    """A run of its own, whatever else is active in this process."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    run_id = hashlib.sha256(f"{folder}\n{identity}".encode()).hexdigest()[:16]
    chosen = "disabled" if getattr(rank_zero_only, "rank", 0) else _mode(mode, timeout)

    def begin(mode: str, run_id: str) -> wandb.Run:
        online = mode == "online"
        settings = wandb.Settings(
            quiet=True,
            silent=not online,  # where() says it in one line
            console="off",  # progress bars are no log
            init_timeout=timeout,
            finish_timeout=_FINISH_SECONDS,
        )
        return wandb.init(
            dir=folder,
            id=run_id,
            mode=mode,  # type: ignore[arg-type]
            resume="allow",
            reinit="create_new",
            settings=settings,
            **options,
        )

    try:
        return begin(chosen, run_id)
    except Exception as error:  # a logger must not stop the training, whatever it stumbles on
        _log.warning("W&B could not begin %s (%s); going on offline.", chosen, error)
    try:
        # Under another id: wandb's service holds on to the one that failed.
        return begin("offline", f"{run_id}-{secrets.token_hex(3)}")
    except Exception as error:
        raise ConfigError(
            f"W&B cannot write to {folder} ({error}). Is it writable? logger=csv or logger=none "
            "does without W&B."
        ) from error


def _mode(wanted: Mode, timeout: float) -> str:
    """``online``, ``offline`` or ``disabled``: online only with a key and a server that answers."""
    if wanted in ("offline", "disabled"):
        return wanted
    settings = wandb.setup().settings  # of the environment and wandb's own files
    if wanted == "auto" and settings.mode in ("offline", "dryrun", "disabled"):
        return "disabled" if settings.mode == "disabled" else "offline"
    try:
        key = wbauth.authenticate_session(
            host=settings.base_url, source="jrn", prompt=False, update_session=False
        )
    except AuthenticationError as error:
        _log.warning("W&B: the key cannot be used (%s); going on offline.", error)
        return "offline"
    if key is None:
        if wanted == "online":
            _log.warning("W&B: no key (set WANDB_API_KEY or run wandb login); going on offline.")
        return "offline"
    if not _answers(settings.base_url, min(timeout, 10.0)):
        _log.warning("W&B: %s does not answer; going on offline.", settings.base_url)
        return "offline"
    return "online"


def _answers(url: str, timeout: float) -> bool:
    """Whether a server answers at ``url``, however it likes the question.

    wandb.init itself tries for its whole timeout, in vain on a compute node without network.
    """
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # wandb has its own say on certificates
    except (OSError, ValueError, http.client.HTTPException):
        return False


def _save_workspace(summary: Summary, run: wandb.Run, logged: Collection[str]) -> str | None:
    """Save the panels beside the report ``run``; its address, None where that cannot be done."""
    try:
        from jrn_lightning.report import workspace

        view = workspace.build(
            summary, entity=run.entity, project=run.project, step=STEP, logged=logged
        )
        return workspace.save(view)
    except ModuleNotFoundError:
        _log.warning("W&B: for a view with panels, pip install 'jrn-lightning[workspaces]'.")
    except Exception as error:  # the runs are there without it
        _log.warning("W&B could not save a view with panels (%s).", error)
    return None


def _remove_superseded(run: wandb.Run) -> None:
    """Drop earlier offline copies of ``run``, so that a sync uploads the newest alone."""
    own = Path(run.dir).parent
    for other in own.parent.glob(f"offline-run-*-{run.id}"):
        if other != own:
            shutil.rmtree(other, ignore_errors=True)


def _with_interval(summary: dict[str, Any], name: str, row: Mapping[str, Any]) -> None:
    summary[name] = row["value"]
    for end in ("low", "high"):
        summary[f"{name}_{end}"] = row.get(end)


def _jobs(summary: Summary) -> pd.DataFrame:
    columns = ["arch", "seed", "status", "operation", "fusion_channels", "computation"]
    return summary.jobs[[column for column in columns if column in summary.jobs]]


def _table(frame: pd.DataFrame) -> wandb.Table:
    """``frame`` as a table, None for what is not known; empty columns are left out."""
    frame = frame.dropna(axis="columns", how="all")
    rows: list[Iterable[Any]] = [map(_plain, row) for row in frame.itertuples(index=False)]
    # Optional and mixed: a column of numbers may be empty in some rows.
    return wandb.Table(columns=list(frame.columns), data=rows, allow_mixed_types=True)


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if value is pd.NA or (isinstance(value, float) and math.isnan(value)) else value
