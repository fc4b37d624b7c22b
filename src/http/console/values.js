// Values as people write and read them, and as the API has them: sizes, times, JSON.

const LETTERS = ["", "K", "M", "G", "T", "P", "E"];

/** The bytes of a size such as `10 GiB`, `1.5 GB`, `10G` (as GiB) or `512`, as a text of digits;
 * undefined for what is no size. A fraction of a byte is cut off. */
export function bytesOf(text) {
  const parts = /^\s*(\d+)(?:\.(\d+))?\s*([KMGTPE]?)(i?)(B?)\s*$/i.exec(text);
  if (!parts) return undefined;
  const [, whole, fraction = "", letter, binary, byte] = parts;
  const power = LETTERS.indexOf(letter.toUpperCase());
  if (power === 0 && (binary || fraction)) return undefined;
  const base = letter && byte && !binary ? 1000n : 1024n;
  return String((BigInt(whole + fraction) * base ** BigInt(power)) / 10n ** BigInt(fraction.length));
}

/** A number of bytes in the largest unit that says it exactly: `10 GiB`, `20 MB`, `1001`. */
export function exactSize(digits) {
  if (!/^[1-9]\d*$/.test(digits)) return digits;
  for (let power = LETTERS.length - 1; power > 0; power -= 1) {
    for (const [base, unit] of [[1024n, "iB"], [1000n, "B"]]) {
      const size = base ** BigInt(power);
      if (BigInt(digits) % size === 0n) return `${BigInt(digits) / size} ${LETTERS[power]}${unit}`;
    }
  }
  return digits;
}

/** A number of bytes as people read it: `12.6 MiB`. */
export function roughSize(bytes) {
  let size = Number(bytes);
  let power = 0;
  while (size >= 1024 && power < LETTERS.length - 1) {
    size /= 1024;
    power += 1;
  }
  const digits = power === 0 || size >= 100 ? 0 : 1;
  return `${size.toFixed(digits)} ${LETTERS[power]}${power ? "iB" : "B"}`;
}

/** `13,167,616 bytes` */
export function bytesInWords(bytes) {
  return `${BigInt(bytes).toLocaleString("en-GB")} bytes`;
}

const DAY = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });

/** A time of the API, which is UTC without a zone, as people read it: `22 May 2016, 06:04`. */
export function roughTime(time) {
  const date = new Date(`${time}Z`);
  return Number.isNaN(date.getTime()) ? time : `${DAY.format(date)}, ${time.slice(11, 16)}`;
}

/** Whether a picker can hold a time just as it stands. */
export function fitsPicker(time) {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?$/.test(time) && !Number.isNaN(Date.parse(time));
}

/** Reads JSON; numbers beyond those that JavaScript holds exactly stay exact where it can. */
export function readJson(text) {
  return JSON.parse(text, (_, value, context) => {
    const isRounded = typeof value === "number" && !Number.isSafeInteger(value);
    return isRounded && /^\d+$/.test(context?.source ?? "") ? BigInt(context.source) : value;
  });
}

/** Writes JSON for people, exact numbers included. */
export function writeJson(value) {
  return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? JSON.rawJSON(String(part)) : part), 2);
}
