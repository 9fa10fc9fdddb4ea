// The workflow keeps exact decimals with 35 digits before the point (handlers/bank/hours.py).
const MOST_DIGITS = 35;

/**
 * Whether the workflow takes this number of hours: above 0, at most 2 decimal places.
 *
 * Judged is the number that JSON sends, so that `0.1 + 0.2`, which is sent as 0.30000000000000004, is not legal.
 */
export function isLegalHours(hours: number): boolean {
  const parts = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(hours));
  if (!parts || hours <= 0) return false;
  const [, whole = '', fraction = '', exponent = '0'] = parts;
  return fraction.length - Number(exponent) <= 2 && whole.length + Number(exponent) <= MOST_DIGITS;
}
