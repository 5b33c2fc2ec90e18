"""Figures as people read them."""

from __future__ import annotations


def seconds(value: float) -> str:
    """`8 s`, `3:05`, `2:03:05`."""
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short_time(value: float) -> str:
    """A hop's time: `0.4 ms`, `35 ms`, `1.2 s`, `3:05`."""
    if value < 0.01:
        return f"{value * 1000:.1f} ms"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 60 else seconds(value)


def rate(value: float) -> str:
    """Per second: `0.25`, `8.1`, `1,204`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def count(value: int) -> str:
    """`812`, `12.4 k`, `3.07 M`."""
    if value < 10_000:
        return f"{value:,}"
    if value < 1_000_000:
        return f"{value / 1000:.1f} k"
    return f"{value / 1_000_000:.2f} M"
