// Numbers with their units, as webapp/templatetags/units.py writes them: the page must not change its words when it goes live.
export function figure(value) {
  if (value === null || value === undefined) return "–";
  if (value && Math.abs(value) < 0.001) return rate(value);
  const whole = Math.trunc(Math.abs(value));
  const decimals = whole >= 1000 ? 0 : Math.max(0, 3 - (whole ? String(whole).length : 0));
  return grouped(value, decimals);
}

export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(2).split("e");
  return `${Number(mantissa)}e${Number(exponent)}`;
}

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  let amount = bytes;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(amount) < 1024 || unit === "GiB") return `${grouped(amount, unit === "B" || amount >= 100 ? 0 : 1)} ${unit}`;
    amount /= 1024;
  }
  return "";
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.floor(seconds + 0.5);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${grouped(Math.floor(whole / 3600), 0)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

export function shortCount(value) {
  if (value === null || value === undefined) return "–";
  for (const [limit, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= limit) return `${(value / limit).toFixed(value / limit < 10 ? 1 : 0)} ${unit}`;
  }
  return value.toFixed(0);
}

export function grouped(value, decimals) {
  return value.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}
