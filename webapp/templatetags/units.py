"""Numbers with their units, as people read them."""

from django import template

register = template.Library()

Number = float | str | None  # the empty text is what Django's templates pass for a key that is not there


@register.filter
def size(value: Number) -> str:
    """Bytes as B, KiB, MiB, GiB: 1,536 -> 1.5 KiB."""
    if not isinstance(value, int | float):
        return "–"
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024 or unit == "GiB":
            return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:,.1f} {unit}"
        amount /= 1024
    return ""


@register.filter
def duration(seconds: Number) -> str:
    """Seconds as 41 s, 3 min 20 s, 2 h 05 min."""
    if not isinstance(seconds, int | float):
        return "–"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


@register.filter
def count(value: Number) -> str:
    """1234567 -> 1,234,567."""
    return f"{value:,.0f}" if isinstance(value, int | float) else "–"


@register.filter
def short_count(value: Number) -> str:
    """134515008 -> 135 M."""
    if not isinstance(value, int | float):
        return "–"
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * limit:
            amount = value / limit
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{value:.0f}"


@register.filter
def figure(value: Number) -> str:
    """Four digits that matter: 0.6814, 17.69, 4,446."""
    if not isinstance(value, int | float):
        return "–"
    if value and abs(value) < 0.001:
        return rate(value)
    decimals = 0 if abs(value) >= 1000 else max(0, 3 - len(str(int(abs(value))).lstrip("0")))
    return f"{value:,.{decimals}f}"


@register.filter
def rate(value: Number) -> str:
    """A learning rate: 2e-4, 1.37e-5."""
    if not isinstance(value, int | float):
        return "–"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


@register.filter
def percent(part: Number) -> str:
    """A share as 40 %."""
    return f"{part * 100:.0f} %" if isinstance(part, int | float) else "–"


@register.filter
def words(name: str) -> str:
    """constant_with_warmup -> constant with warmup."""
    return name.replace("_", " ")
