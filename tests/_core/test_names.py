from __future__ import annotations

import pytest

from scepsis._core._names import words, words_of_test


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gain/gene/gbdt/auroc", "gain, gene, boosted trees, AUROC"),
        ("vs_detection_rate", "against detection rate"),
        ("vs_my_edges", "against my_edges"),  # keys of edges stay
        ("top_5/attention_L3/vs_random", "top_5, attention_L3, against random heads"),
        ("spearman/raw", "rank correlation"),
    ],
)
def test_names_of_tests_are_words(name: str, told: str) -> None:
    assert words_of_test(name) == told


def test_a_status_is_words() -> None:
    assert words("null_not_mixed") == "null not mixed"
