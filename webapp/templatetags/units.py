"""Numbers with their units, as people read them."""

from django import template

register = template.Library()


@register.filter
def size(value: float | None) -> str:
    """Bytes as B, KiB, MiB, GiB: 1,536 -> 1.5 KiB."""
    if value is None:
        return "–"
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024 or unit == "GiB":
            return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:,.1f} {unit}"
        amount /= 1024
    return ""


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as 41 s, 3 min 20 s, 2 h 05 min."""
    if seconds is None:
        return "–"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


@register.filter
def count(value: float | None) -> str:
    """1234567 -> 1,234,567."""
    return "–" if value is None else f"{value:,.0f}"


@register.filter
def short_count(value: float | None) -> str:
    """134515008 -> 135 M."""
    if value is None:
        return "–"
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            amount = value / limit
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{value:.0f}"


@register.filter
def figure(value: float | None) -> str:
    """Four digits that matter: 0.6814, 17.69, 4,446."""
    if value is None:
        return "–"
    if value and abs(value) < 0.001:
        return rate(value)
    decimals = 0 if abs(value) >= 1000 else max(0, 3 - len(str(int(abs(value))).lstrip("0")))
    return f"{value:,.{decimals}f}"


@register.filter
def rate(value: float | None) -> str:
    """A learning rate: 2e-4, 1.37e-5."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


@register.filter
def percent(part: float | None) -> str:
    """A share as 40 %."""
    return "–" if part is None else f"{part * 100:.0f} %"


@register.filter
def words(name: str) -> str:
    """constant_with_warmup -> constant with warmup."""
    return name.replace("_", " ")
