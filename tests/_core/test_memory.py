from __future__ import annotations

import pytest

from scepsis._core._memory import default_limit, require_memory


def test_what_does_not_fit_is_refused_with_both_sizes() -> None:
    require_memory(2**30, 2**30, what="This", remedy="Do that.")
    with pytest.raises(MemoryError, match=r"This would take 3.00 GiB, over the limit of 1.50 GiB. Do that. Or raise"):
        require_memory(3 * 2**30, 3 * 2**29, what="This", remedy="Do that.")


def test_the_limit_is_a_share_of_the_machine() -> None:
    assert default_limit() > 2**28
    with pytest.raises(MemoryError):
        require_memory(8 * default_limit(), None, what="This", remedy="")
