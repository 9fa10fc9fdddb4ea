import { HourBankError, parseHours } from '../../src';

/** Text, not a number: a field for numbers reads a comma by the browser's language, and drops it or what follows. */
export const HOURS_FIELD = { type: 'text', inputMode: 'decimal', autocomplete: 'off', required: true } as const;

/** The hours in such a field, or the error that says in words why there are none. */
export function hoursIn(text: string): number | HourBankError {
  try {
    return parseHours(text);
  } catch (error) {
    if (error instanceof HourBankError) return error;
    throw error;
  }
}
