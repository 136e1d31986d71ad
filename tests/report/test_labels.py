from __future__ import annotations

import numpy as np
import pytest

from jrn_lightning.report import labels

FRAME = np.array([0.0, 0.0, 200.0, 100.0])
NOTHING = np.empty((0, 4))


def test_overlap_is_the_shared_area() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0]])
    others = np.array([[5.0, 5.0, 20.0, 8.0], [10.0, 0.0, 20.0, 10.0]])
    np.testing.assert_array_equal(labels.overlap(boxes, others), [[15, 0]])


def test_distance_is_to_the_nearest_edge() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0]])
    points = np.array([[5.0, 5.0], [13.0, 14.0]])
    np.testing.assert_array_equal(labels.distance(boxes, points), [[0, 5]])


def test_a_name_stays_near_when_there_is_room() -> None:
    box, tied = labels.beside((100, 50), (30, 10), others=[], taken=NOTHING, frame=FRAME)
    assert labels.distance(box[None], np.array([[100.0, 50.0]])) < 7
    assert not tied


def test_a_name_stays_inside_and_covers_nothing() -> None:
    taken = np.array([[0.0, 0.0, 60.0, 60.0]])
    box, _ = labels.beside((10, 62), (30, 10), others=[], taken=taken, frame=FRAME)
    assert labels.overlap(box[None], taken) == 0
    assert labels.overlap(box[None], FRAME[None]) == pytest.approx(300)


def test_a_name_that_is_driven_away_is_tied() -> None:
    taken = np.array([[60.0, 10.0, 140.0, 90.0]])
    box, tied = labels.beside((100, 50), (30, 10), others=[], taken=taken, frame=FRAME)
    assert labels.overlap(box[None], taken) == 0
    assert tied


def test_a_name_keeps_off_other_markers() -> None:
    others = np.array([[112.0, 50.0]])
    box, tied = labels.beside((100, 50), (30, 10), others=others, taken=NOTHING, frame=FRAME)
    own, other = labels.distance(box[None], np.array([[100.0, 50.0], [112.0, 50.0]]))[0]
    assert own < other
    assert not tied


def test_the_name_of_a_line_avoids_what_stands_on_it() -> None:
    free = labels.along(50, (40, 10), taken=NOTHING, frame=FRAME)
    assert free.tolist() == [160, 52.5, 200, 62.5]  # above, at the right end
    taken = np.array([[150.0, 0.0, 200.0, 100.0]])
    moved = labels.along(50, (40, 10), taken=taken, frame=FRAME)
    assert labels.overlap(moved[None], taken) == 0
