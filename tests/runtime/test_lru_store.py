"""The store: what is held, what is let go, and what it weighs."""

import threading

import torch

from vlm_demo.runtime.lru_store import LEAST_BUDGET, LruStore, budget_for, size_of


def test_the_least_recently_used_goes_first() -> None:
    store = LruStore(10)
    for key in "abc":
        store.put(key, key.upper(), 3)
    assert store.get("a") == "A"
    store.put("d", "D", 4)
    assert [store.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert store.bytes == 10


def test_what_is_larger_than_the_budget_is_not_held_and_drives_nothing_out() -> None:
    store = LruStore(10)
    store.put("a", 1, 6)
    store.put("b", 2, 11)
    assert (store.get("a"), store.get("b"), store.bytes) == (1, None, 6)


def test_putting_again_replaces() -> None:
    store = LruStore(10)
    store.put("a", 1, 6)
    store.put("a", 2, 8)
    assert (store.get("a"), store.bytes) == (2, 8)


def test_a_smaller_budget_lets_go_at_once_and_none_holds_nothing() -> None:
    store = LruStore(10)
    for key in "ab":
        store.put(key, 1, 4)
    store.budget = 5
    assert (store.get("a"), store.get("b"), store.bytes) == (None, 1, 4)
    store.budget = 0
    store.put("c", 1, 1)
    assert store.bytes == 0 and not store.of(int)


def test_values_are_found_by_their_class() -> None:
    store = LruStore(10)
    for key, value in (("a", 1), ("b", "two"), ("c", 3)):
        store.put(key, value, 1)
    assert store.of(int) == [1, 3] and store.of(str) == ["two"]
    store.drop("a")
    store.drop("unknown")
    assert store.of(int) == [3] and store.bytes == 2
    store.clear()
    assert store.of(object) == [] and store.bytes == 0


def test_a_part_of_a_tensor_weighs_as_much_as_all_that_it_keeps() -> None:
    whole = torch.zeros(100)
    assert size_of([whole[:3], whole[5:], None]) == 400
    assert size_of([whole, torch.zeros(2, dtype=torch.bfloat16)]) == 404


def test_a_model_may_remember_a_quarter_of_its_own_bytes() -> None:
    assert budget_for(8 * 2**30) == 2 * 2**30
    assert budget_for(1) == LEAST_BUDGET


def test_many_threads_leave_the_sum_right() -> None:
    store = LruStore(50)

    def work(seed: int) -> None:
        for i in range(300):
            store.put((seed + i) % 17, i, i % 7)
            store.get(i % 17)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.bytes == sum(size for _, size in store._entries.values()) <= 50
