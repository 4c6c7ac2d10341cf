"""A lower bound of the time: raised by what is believed, and what had ended by it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from est_transports.pki.chains import leading_to
from est_transports.pki.clock_floor import ended_before, raised
from tests.core.trust.cast import DAY, START, YEAR, Ca, certificate, leaf, root

ROOT = Ca(begin=START, end=START + 20 * YEAR)
ISSUING = Ca(name="Issuing CA", begin=START + YEAR, end=START + 5 * YEAR)
ABOVE = certificate(ISSUING, ROOT)
UNSET = START - 40 * YEAR


def test_a_floor_is_raised_by_the_newest_and_lowered_by_nothing() -> None:
    assert raised(UNSET, [root(ROOT), ABOVE]) == START + YEAR
    assert raised(START + 2 * YEAR, [root(ROOT), ABOVE]) == START + 2 * YEAR
    assert raised(START, []) == START


def test_a_path_whose_ca_had_ended_when_its_last_certificate_was_issued_has_ended() -> None:
    late = leaf(ISSUING, begin=START + 6 * YEAR, end=START + 7 * YEAR)
    assert ended_before(START, [late, ABOVE, root(ROOT)]) == ((1, ABOVE),)
    good = leaf(ISSUING, begin=START + 4 * YEAR, end=START + 6 * YEAR)
    assert ended_before(START, [good, ABOVE, root(ROOT)]) == ()
    assert ended_before(START + 6 * YEAR + DAY, [good, ABOVE, root(ROOT)]) == (
        (0, good),
        (1, ABOVE),
    )
    assert ended_before(good.not_valid_after_utc, [good]) == ()


@pytest.mark.req("EST-124")
def test_the_rest_of_an_answer_is_judged_each_by_its_own_time() -> None:
    anchors = (root(ROOT),)
    far = START + 6000 * YEAR
    stranger = root(Ca(name="Root from afar", begin=far, end=far + YEAR))
    ended = certificate(
        Ca(name="Ended CA", begin=START - 2 * YEAR, end=START - timedelta(seconds=1)), ROOT
    )
    bag = [ABOVE, stranger, ended, *anchors]
    assert leading_to(anchors, bag, now=UNSET) == anchors
    assert leading_to(anchors, bag, now=UNSET, floor=START - YEAR) == (ABOVE, *anchors)
    assert leading_to(anchors, bag, now=START + 6 * YEAR, floor=START) == anchors
