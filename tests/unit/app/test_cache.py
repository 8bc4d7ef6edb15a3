"""The cache of class matrices."""

from __future__ import annotations

from app.kit.cache import SizedCache


def test_the_least_recently_used_is_evicted_first() -> None:
    cache: SizedCache[str] = SizedCache(max_count=2, max_bytes=100)
    cache.put("a", "A", 1)
    cache.put("b", "B", 1)
    assert cache.get("a") == "A"  # now the most recently used
    cache.put("c", "C", 1)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")


def test_bytes_are_bounded() -> None:
    cache: SizedCache[str] = SizedCache(max_count=100, max_bytes=10)
    for name in "abc":
        cache.put(name, name, 4)
    assert len(cache) == 2
    assert cache.get("a") is None


def test_a_value_larger_than_the_cache_is_kept_alone() -> None:
    cache: SizedCache[str] = SizedCache(max_count=100, max_bytes=10)
    cache.put("small", "s", 1)
    cache.put("large", "l", 50)
    assert cache.get("large") == "l"
    assert len(cache) == 1
    cache.put("small", "s", 1)
    assert cache.get("large") is None


def test_replacing_counts_the_bytes_once() -> None:
    cache: SizedCache[str] = SizedCache(max_count=100, max_bytes=10)
    for _ in range(5):
        cache.put("a", "A", 5)
    cache.put("b", "B", 5)
    assert cache.get("a") == "A"
