import { expect, test } from 'vitest';
import { HourBankError, isLegalHours, parseHours } from '../src/index.js';
import vectors from './vectors.json' with { type: 'json' };

test.each(Object.entries(vectors.hours))('%s as a number of hours is legal: %s', (hours, legal) => {
  expect(isLegalHours(Number(hours))).toBe(legal);
  // the vector is the number that JSON sends, which the Python test reads
  expect(JSON.stringify(Number(hours))).toBe(hours);
});
test.each([Number.NaN, Infinity, -0])('%s as a number of hours is not', (hours) =>
  expect(isLegalHours(hours)).toBe(false),
);

test.each(Object.entries(vectors.typedHours))('%j is read as %s, which JSON sends exactly', (text, hours) => {
  expect(JSON.stringify(parseHours(text))).toBe(hours);
  expect(isLegalHours(parseHours(text))).toBe(true);
});

test.each(Object.entries(vectors.refusedHours))('%j is refused: %s', (text, sentence) => {
  let refusal: unknown;
  try {
    refusal = parseHours(text);
  } catch (thrown) {
    refusal = thrown;
  }
  expect(refusal).toBeInstanceOf(HourBankError);
  expect(refusal).toMatchObject({ kind: 'InvalidInput', message: sentence });
});

test('every legal number of hundredths is read exactly, with either separator', () => {
  for (let hundredths = 1; hundredths <= 100_000_000; hundredths = Math.ceil(hundredths * 1.013)) {
    const text = `${Math.floor(hundredths / 100)}.${String(hundredths % 100).padStart(2, '0')}`;
    expect(parseHours(text).toFixed(2)).toBe(text);
    expect(String(parseHours(text.replace('.', ',')))).toBe(String(hundredths / 100));
  }
});
