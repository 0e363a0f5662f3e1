"""Progress bars for what takes more than a few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(*, total: int, desc: str, unit: str, show: bool, initial: int = 0) -> tqdm[Any]:
    """Open a bar that stays silent when `show` is false or nobody watches."""
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=desc, unit=unit, initial=initial, disable=None if show else True, leave=False)
