"""What settings become on machines of several sizes, and when they are said not to fit."""

from typing import Any

import pytest

from s4.entrypoints.fitting import CHILD_BYTES_MIN, fit, misfits
from s4.kernel.settings import Settings
from s4.kernel.units import GIB, MIB
from s4.platform.machine import Machine


def machine(processors: float, memory_bytes: int) -> Machine:
    return Machine(processors, "cpu.max", memory_bytes, "memory.max")


def fitted(processors: float, memory_bytes: int, /, **given: Any) -> Settings:
    settings = Settings(**given)
    return settings.model_copy(update=fit(settings, machine(processors, memory_bytes), given=given).changes)


def test_on_a_large_machine_memory_changes_nothing() -> None:
    found = fit(Settings(), machine(16, 64 * GIB), given=())
    assert found.changes == {"processors": 16, "embedding_threads": 16, "memory_bytes": 64 * GIB}
    assert found.reason == "16 processors (cpu.max), 64.0 GiB (memory.max)"


@pytest.mark.parametrize("memory_bytes", [GIB, 3 * GIB // 2, 2 * GIB, 4 * GIB, 6 * GIB, 16 * GIB])
def test_what_follows_from_the_machine_fits_it(memory_bytes: int) -> None:
    assert list(misfits(fitted(1, memory_bytes))) == []
    more_children = fitted(1, 2 * memory_bytes, extraction_processes=3, extraction_slow_processes=2)
    assert list(misfits(more_children)) == []


def test_less_memory_never_means_more_of_anything() -> None:
    sizes = [256 * MIB, 512 * MIB, GIB, 2 * GIB, 4 * GIB, 8 * GIB, 64 * GIB]
    names = ("extraction_memory_bytes", "index_cache_bytes", "extraction_text_chars_max", "worker_concurrency",
             "extraction_unpacked_bytes_max", "extraction_markup_bytes_max")  # fmt: skip
    for name in names:
        values = [getattr(fitted(2, size), name) for size in sizes]
        assert values == sorted(values), name
        assert 0 < values[0] < values[-1] == Settings.model_fields[name].default, name


def test_what_the_operator_sets_is_taken_as_it_is() -> None:
    given: dict[str, Any] = {"extraction_memory_bytes": 8 * GIB, "index_cache_bytes": 2 * GIB, "worker_concurrency": 40,
                             "embedding_threads": 3, "extraction_unpacked_bytes_max": GIB}  # fmt: skip
    settings = fitted(1, GIB, **given)
    assert {name: getattr(settings, name) for name in given} == given


def test_processors_and_memory_can_be_said() -> None:
    settings = fitted(16, 64 * GIB, processors=2, memory_bytes=2 * GIB)
    assert (settings.processors, settings.embedding_threads, settings.memory_bytes) == (2, 2, 2 * GIB)
    assert settings.extraction_memory_bytes == fitted(2, 2 * GIB).extraction_memory_bytes


def test_zero_counts_as_not_said() -> None:
    settings = fitted(1.5, 4 * GIB, processors=0, memory_bytes=0, embedding_threads=0)
    assert (settings.processors, settings.embedding_threads, settings.memory_bytes) == (2, 2, 4 * GIB)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"extraction_memory_bytes": 3 * GIB}, "S4_EXTRACTION_MEMORY_BYTES"),
        ({"extraction_processes": 20}, "S4_EXTRACTION_PROCESSES"),
        ({"extraction_slow_processes": 20}, "S4_EXTRACTION_SLOW_PROCESSES"),
        ({"index_cache_bytes": GIB}, "S4_INDEX_CACHE_BYTES"),
        ({"extraction_text_chars_max": 100_000_000}, "S4_EXTRACTION_TEXT_CHARS_MAX"),
    ],
)
def test_a_sum_that_cannot_fit_is_told_with_the_settings_in_it(given: dict[str, Any], named: str) -> None:
    (sentence,) = misfits(fitted(2, 4 * GIB, **given))
    assert named in sentence
    assert "has 4.0 GiB" in sentence


def test_a_machine_that_is_too_small_for_s4_is_told_so() -> None:
    (sentence,) = misfits(fitted(1, 512 * MIB))
    assert "has 512.0 MiB" in sentence
    assert "give it more memory" in sentence


def test_a_child_is_always_left_what_ordinary_files_take() -> None:
    assert fitted(1, 256 * MIB).extraction_memory_bytes > CHILD_BYTES_MIN
