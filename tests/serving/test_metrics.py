"""The text that Prometheus scrapes, read by a small parser of its format."""

import re

import pytest

from vlm_demo.serving.metrics import BOUNDS, Facts, Metrics

SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z]+="[^"\\\n]*",?)+)\} (\S+)')


def read(text: str) -> dict[str, float]:
    """Name and labels → value; every name has its type declared before."""
    found, typed = {}, set()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("#"):
            typed.add(line.split()[2])
            continue
        name, labels, value = SAMPLE.fullmatch(line).groups()
        assert re.sub("_(bucket|sum|count)$", "", name) in typed and 'front="f1"' in labels
        key = name + "".join(f" {part}" for part in labels.split(",")[1:])
        assert key not in found
        found[key] = float(value)
    return found


def test_what_happened_is_counted() -> None:
    metrics = Metrics("f1")
    for status, first, whole in ((200, 0.3, 2.0), (200, None, 0.01), (200, 200.0, 300.0), (503, None, 0.0)):
        metrics.ended(status, first, whole)
    metrics.record(Facts(2, 1, 400, 190, 30))
    metrics.record(Facts(1, 0, 100, 0, 5))
    found = read(metrics.text(3, 2, 24))
    assert found['vlm_demo_requests_total status="200"'] == 3 and found['vlm_demo_requests_total status="503"'] == 1
    assert found["vlm_demo_answers_total"] == 3 and found["vlm_demo_cache_hits_total"] == 1
    assert [found[f'vlm_demo_tokens_total kind="{kind}"'] for kind in ("prompt", "known", "written")] == [500, 190, 35]
    gauges = [found[f"vlm_demo_{name}"] for name in ("requests_waiting", "requests_working", "places")]
    assert gauges == [3, 2, 24]
    buckets = [found[f'vlm_demo_first_token_seconds_bucket le="{bound}"'] for bound in (*BOUNDS, "+Inf")]
    assert buckets == [0, 0, 0, *([1] * (len(BOUNDS) - 3)), 2]
    assert found["vlm_demo_first_token_seconds_count"] == 2
    assert found["vlm_demo_first_token_seconds_sum"] == pytest.approx(200.3)
    assert found["vlm_demo_answer_seconds_count"] == 3
    assert found["vlm_demo_answer_seconds_sum"] == pytest.approx(302.01)


def test_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics("f1")
    metrics.ended(200, BOUNDS[2], 1)
    found = read(metrics.text(0, 0, 1))
    assert found[f'vlm_demo_first_token_seconds_bucket le="{BOUNDS[2]}"'] == 1
    assert found[f'vlm_demo_first_token_seconds_bucket le="{BOUNDS[1]}"'] == 0
