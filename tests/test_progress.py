"""What a bar shows in the end."""

from __future__ import annotations

import pytest

from jrn_lightning.progress import bar


@pytest.mark.parametrize("total", [3, None])
def test_a_bar_is_full_when_the_work_is_done(
    total: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with bar("Working", total) as advance:
        for _ in range(3):
            advance(1)
    assert "100%" in capsys.readouterr().err
