"""Which requests are admitted, and what a rejected one is told."""

from contextlib import ExitStack

import pytest

from vlm_demo.serving.admission import LATEST, SOONEST, Admission, Full


def test_places_are_given_until_there_are_none_and_come_back() -> None:
    admission = Admission(2)
    with ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(admission.place())
        with pytest.raises(Full, match="2 requests") as refused, admission.place():
            pass
        assert refused.value.status == 503 and admission.open == 2
    with admission.place():
        assert admission.open == 1


def test_a_place_comes_back_after_an_error_too() -> None:
    admission = Admission(1)
    with pytest.raises(ZeroDivisionError), admission.place():
        raise ZeroDivisionError
    assert admission.open == 0


def test_retry_after_is_the_recent_time_between_answers() -> None:
    now = 0.0
    admission = Admission(9, lambda: now)
    assert admission.seconds() == SOONEST
    for _ in range(3):  # ends at 7, 14, 21
        with admission.place():
            now += 7
    assert admission.seconds() == 7
    now += 10_000
    assert admission.seconds() == LATEST


def test_admitted_requests_stay_after_admission_closes() -> None:
    admission = Admission(2)
    with admission.place():
        admission.close()
        with pytest.raises(Full, match="ending"), admission.place():
            pass
        assert admission.open == 1
