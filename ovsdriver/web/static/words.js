// Numbers and times for people.

const UNITS = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];

/** Return a rate of bytes as networks count: in bits, with two digits or three. */
export function rate(bytesPerSecond) {
  if (bytesPerSecond === null || bytesPerSecond === undefined) return "–";
  let value = bytesPerSecond * 8;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toPrecision(2)} ${UNITS[unit]}`;
}

/** Return the same in few characters, for a picture: 5.3M. */
export function brief(bytesPerSecond) {
  const [number, unit] = rate(bytesPerSecond).split(" ");
  return number + ({ "kbit/s": "k", "Mbit/s": "M", "Gbit/s": "G" }[unit] ?? "");
}

export function bytes(count) {
  let value = count;
  let unit = 0;
  const units = ["B", "kB", "MB", "GB", "TB"];
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toPrecision(3)} ${units[unit]}`;
}

export function ago(epoch) {
  const seconds = Math.max(0, Date.now() / 1000 - epoch);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

export function clock(epoch) {
  return new Date(epoch * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}

export function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** Return a count of addresses; of large ones the power of two that it nearly is. */
export function amount(count) {
  return count < 1e6 ? String(count) : `2^${Math.round(Math.log2(count))}`;
}

export function short(id) {
  return id.slice(0, 12);
}
