"""The contract of a modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jrn_lightning.errors import ConfigError
from jrn_lightning.modalities import Depth, Measure, Modality, Semantic, import_plugins


def test_a_modality_is_built_again_from_its_attributes() -> None:
    for modality in (Depth("near"), Semantic("what", ["a", "b"], "space")):
        again = Modality.create(modality.kind, modality.name, modality.attributes)
        assert type(again) is type(modality)
        assert (again.name, again.attributes) == (modality.name, modality.attributes)


def test_an_unknown_kind_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'touch'.*depth, .*semantic.*plugins="):
        Modality.create("touch", "x", {})


def test_an_unknown_measure_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"depth has no measure 'iou'.*abs_rel, sq_rel"):
        Depth("depth").measure("iou")


def test_performance_grows_with_quality() -> None:
    value = np.array([0.1, 0.2])
    good = Measure("a", "a", lambda s: s, higher_is_better=True)
    bad = Measure("b", "b", lambda s: s, higher_is_better=False, scale=1.0)
    assert good.performance(value).tolist() == [10.0, 20.0]
    assert bad.performance(value).tolist() == [-0.1, -0.2]
    # Figure 7: mean IoU in percent, and -100 rel(sqr).
    depth, semantic = Depth("d"), Semantic("s", ["a", "b"])
    assert depth.measure(depth.primary).performance(np.array(0.124)) == pytest.approx(-12.4)
    assert semantic.measure(semantic.primary).performance(np.array(0.54)) == pytest.approx(54)


def test_a_plugin_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'no\.such\.module' cannot be imported.*PYTHONPATH"):
        import_plugins(["no.such.module"])


def test_a_plugin_defines_a_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_plugin.py").write_text(
        "from jrn_lightning.modalities import Depth\nclass Sonar(Depth):\n    kind = 'sonar'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Modality, "_kinds", dict(Modality._kinds))
    import_plugins(["a_plugin"])
    assert Modality.create("sonar", "x", {}).channels == 1
    assert Modality.create("depth", "x", {}).kind == "depth"
