from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from jrn_lightning.analysis.findings import COLUMNS, frame, select
from jrn_lightning.errors import ConfigError
from tests.report import fakes


@pytest.mark.parametrize("name", COLUMNS)
def test_an_empty_frame_has_its_columns(name: str) -> None:
    assert tuple(frame(name)) == COLUMNS[name]
    assert frame(name).empty


def test_a_selection_has_these_architectures_alone(tmp_path: Path) -> None:
    whole = fakes.findings(tmp_path / "nyu")
    part = select(whole, ["cat60", "cat1"])
    assert list(part.summary.architectures["arch"]) == ["input", "cat60", "cat1"]
    assert set(part.summary.jobs["arch"]) == {"cat60", "cat1"}
    for name in COLUMNS:
        before, after = getattr(whole, name), getattr(part, name)
        if "arch" in before and name != "points":
            kept = before["arch"].isin(["input", "cat60", "cat1"])
            pd.testing.assert_frame_equal(after, before[kept].reset_index(drop=True))
    pairs = set(zip(part.differences["first"], part.differences["second"], strict=True))
    assert pairs == {("cat60", "cat1")}
    pd.testing.assert_frame_equal(part.envelope, whole.envelope)
    assert len(part.peaks) == len(whole.peaks)


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no architecture cat61 in nyu.*cat60, sum60"):
        select(fakes.findings(tmp_path / "nyu"), ["cat61"])
