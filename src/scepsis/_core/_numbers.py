"""Numbers as they are written in sentences and tables."""

from __future__ import annotations

import numpy as np

MINUS = "−"
ABSENT = "–"


def decimal(value: float, digits: int = 3) -> str:
    """A number with a fixed number of decimals."""
    if not np.isfinite(value):
        return ABSENT
    return f"{value:.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign, with more decimals where fewer would show it as zero, up to six."""
    if not np.isfinite(value):
        return ABSENT
    if abs(value) < 0.5e-6:
        value = 0.0
    while value and digits < 6 and abs(value) < 0.5 * 10**-digits:
        digits += 1
    return f"{value:+.{digits}f}".replace("-", MINUS)


def interval(low: float, high: float, *, sign: bool = False) -> str:
    """An interval; nothing where there is none."""
    if not np.isfinite([low, high]).all():
        return ABSENT
    write = signed if sign else decimal
    return f"{write(low)} to {write(high)}"


def p_value(value: float, *, line: float = 0.05) -> str:
    """A p-value or q-value to two significant digits or two decimals, never as zero, never rounded across `line`."""
    if not np.isfinite(value):
        return ABSENT
    if value < 1e-4:
        return "< 0.0001"
    text = f"{value:.2g}" if value < 0.095 else f"{value:.2f}"
    for digits in range(3, 8):
        if (float(text) < line) == (value < line):
            break
        text = f"{value:.{digits}g}"
    return text


def equals(symbol: str, value: float) -> str:
    """A p-value with its symbol: ``q = 0.03``, ``q < 0.0001``."""
    text = p_value(value)
    return f"{symbol} {text}" if text.startswith("<") else f"{symbol} = {text}"


def percent(share: float) -> str:
    """A share as a percentage."""
    return ABSENT if not np.isfinite(share) else f"{100 * share:.3g} %".replace("-", MINUS)


def count(value: float) -> str:
    """A whole number, thousands separated."""
    return ABSENT if not np.isfinite(value) else f"{value:,.0f}"


def plural(number: int, singular: str, several: str = "") -> str:
    """A count with its noun."""
    return f"{count(number)} {singular if number == 1 else several or singular + 's'}"


def enumerate_words(words: list[str], last: str = "and") -> str:
    """Words as a phrase: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
