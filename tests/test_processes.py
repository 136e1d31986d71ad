from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from jrn_lightning.errors import JRNError
from jrn_lightning.progress import Advance, side_by_side

Job = tuple[Path, int]


def note(job: Job, advance: Advance) -> None:
    folder, number = job
    (folder / str(number)).write_text(f"{os.getpid()} {torch.get_num_threads()}")
    advance(number)


def fail_at_1(job: Job, advance: Advance) -> None:
    folder, number = job
    if number == 1:
        raise JRNError("job 1 cannot be done")
    for _ in range(600):  # a minute, unless it is told to stop
        time.sleep(0.1)
        advance(0.1)
    (folder / "late").write_text("")


def die(job: Job, advance: Advance) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_is_done_and_its_progress_told_here(tmp_path: Path, workers: int) -> None:
    told: list[float] = []
    side_by_side(note, [(tmp_path, n) for n in range(1, 6)], workers, told.append)
    assert sorted(told) == [1, 2, 3, 4, 5]
    pids, threads = zip(
        *((tmp_path / str(n)).read_text().split() for n in range(1, 6)), strict=True
    )
    here = str(os.getpid())
    if workers == 1:
        assert set(pids) == {here}
    else:
        assert here not in pids
        assert set(threads) == {"1"}


def test_an_error_stops_the_others_and_is_raised(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(JRNError, match="job 1 cannot be done"):
        side_by_side(fail_at_1, [(tmp_path, 0), (tmp_path, 1)], 2, lambda _: None)
    assert not (tmp_path / "late").exists()
    assert time.monotonic() - start < 50


def test_a_process_that_is_ended_from_outside_is_told(tmp_path: Path) -> None:
    with pytest.raises(JRNError, match=r"ended from outside.*Run the command again"):
        side_by_side(die, [(tmp_path, 0), (tmp_path, 1)], 2, lambda _: None)


def test_no_jobs_need_no_process() -> None:
    side_by_side(note, [], 2, lambda _: None)
