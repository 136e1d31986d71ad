from __future__ import annotations

import pytest

from tests.campaign import BAD, campaign


@pytest.mark.slow
def test_mistaken_inputs_end_in_a_message_or_a_right_cache() -> None:
    outcomes = list(campaign(60, seed=7))
    assert len(outcomes) > 50
    assert [outcome for outcome in outcomes if outcome[1] in BAD] == []
