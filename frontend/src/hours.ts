import { HourBankError } from './errors.js';

// as in handlers/bank/hours.py
const MOST_HOURS = 1_000_000;
export const LEGAL_HOURS = `a number above 0, at most ${MOST_HOURS}, with at most 2 decimal places`;
// the zeros of the digits that keyboards type: ASCII, full width, Arabic, Persian and Urdu, Devanagari, Bengali
const ZEROS = [0x30, 0xff10, 0x660, 0x6f0, 0x966, 0x9e6];
const NUMBER = /^(\d*)(?:[.,](\d+))?$/;
const GROUPED = /^\d{1,3}([.,'\u2019\u066c\s]\d{2,3})*[.,'\u2019\u066c\s]\d{3}([.,]\d+)?$/;
const LONGEST_QUOTE = 30;

/**
 * Whether the workflow takes this number of hours: above 0, at most 1,000,000, at most 2 decimal places.
 *
 * Judged is the number that JSON sends, so that `0.1 + 0.2`, which is sent as 0.30000000000000004, is not legal.
 */
export function isLegalHours(hours: number): boolean {
  return hours > 0 && hours <= MOST_HOURS && /^\d+(\.\d{1,2})?$/.test(String(hours));
}

/**
 * Hours that a person typed or pasted: `1.5` and `1,5` are one and a half, whatever the browser's language is.
 *
 * Read are also other digits, the Arabic and the full-width separator, spaces around, and an `h` behind, as in `2.5 h`.
 * Throws `InvalidInput` for what is no legal number of hours, and for what could mean two: `1,000`, or `05`, in which a
 * comma may be missing. Its message says what to write. The command line reads alike (hourbank/hours.py).
 */
export function parseHours(text: string): number {
  const read = inAscii(text);
  const quote = `"${read.length > LONGEST_QUOTE ? `${read.slice(0, LONGEST_QUOTE)}...` : read}"`;
  const [matched, whole = '', fraction = ''] = NUMBER.exec(read) ?? [];
  const hours = Number(`${whole}.${fraction}`);
  if (read === '') throw wrong('The hours are missing: write a number such as 2 or 1.5.');
  if (hours === 0 || /^[-\u2212][\d.,]+$/.test(read)) throw wrong('The hours must be above 0.');
  if (/^0\d\d?$/.test(read)) {
    throw wrong(`${quote} could mean ${Number(whole)} or ${Number(`0.${whole.slice(1)}`)}: write the one you mean.`);
  }
  if (/^[1-9]\d{0,2}[.,]\d{3}$/.test(read)) {
    const meanings = `${whole}${fraction} or ${hours}`;
    throw wrong(`${quote} could mean ${meanings}: leave out the separator of thousands, and write at most 2 decimals.`);
  }
  if (matched === undefined && GROUPED.test(read)) {
    throw wrong(`${quote} has separators of thousands: write it without, such as 1500 or 1500.5.`);
  }
  if (matched === undefined || /^0\d/.test(read)) {
    throw wrong(`${quote} is not a number of hours: write one such as 2 or 1.5.`);
  }
  if (fraction.length > 2) throw wrong('The hours must have at most 2 decimals.');
  if (hours > MOST_HOURS) throw wrong(`The hours must be at most ${MOST_HOURS}.`);
  return hours;
}

const wrong = (message: string): HourBankError => new HourBankError('InvalidInput', message);

/** Without what cannot be seen, spaces around and the unit; digits of one script, and separators, in ASCII. */
function inAscii(text: string): string {
  const seen = text.replace(/\p{Cf}/gu, '').trim();
  const zero = ZEROS.find((first) => [...seen].some((sign) => isDigit(sign, first))) ?? NaN;
  return [...seen]
    .map((sign) => (isDigit(sign, zero) ? String(sign.charCodeAt(0) - zero) : sign))
    .join('')
    .replace(/[\u066b\uff0e]/g, '.')
    .replace(/\uff0c/g, ',')
    .replace(/(\d)\s*h$/i, '$1');
}

const isDigit = (sign: string, zero: number): boolean => {
  const value = sign.charCodeAt(0) - zero;
  return value >= 0 && value <= 9;
};
