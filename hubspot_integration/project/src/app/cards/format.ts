// Codes and times as people read them.
const DAY_MS = 86_400_000;
const HOUR_SECONDS = 3_600;

/** "482951" → "482 951", for the eye and the ear only; eight characters in two fours. */
export function grouped(code: string): string {
  const half = code.length >= 6 ? code.length / 2 : code.length;
  return `${code.slice(0, half)} ${code.slice(half)}`.trim();
}

/** Seconds as "9:41" or "1:02:09". */
export function countdown(seconds: number): string {
  const left = Math.max(0, seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  const minutes = Math.floor((left % HOUR_SECONDS) / 60);
  const hours = Math.floor(left / HOUR_SECONDS);
  return hours > 0 ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
}

/** A moment by the agent's own clock: the time alone when it is less than half a day away, else with its date. */
export function clock(moment: number, locale: string, now: number): string {
  const isNear = Math.abs(moment - now) < DAY_MS / 2;
  return new Intl.DateTimeFormat(locale, isNear ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' }).format(moment);
}

/** A wait such as "in 20 seconds", in the agent's language; empty for none. */
export function inWords(seconds: number, locale: string): string {
  if (seconds <= 0) {
    return '';
  }
  const format = new Intl.RelativeTimeFormat(locale);
  if (seconds < 90) {
    return format.format(seconds, 'second');
  }
  return seconds < 90 * 60 ? format.format(Math.ceil(seconds / 60), 'minute') : format.format(Math.ceil(seconds / HOUR_SECONDS), 'hour');
}
