import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HourBankError } from '../src/index.js';
import { poll } from '../src/polling.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** When, in seconds, a poll read within a time; `read(n)` is what the n-th read gives. */
async function readsWithin(seconds: number, read: (n: number) => unknown, onWake?: (wake: () => void) => () => void) {
  const start = Date.now();
  const at: number[] = [];
  const stop = new AbortController();
  const all = (async () => {
    const reading = async () => {
      at.push((Date.now() - start) / 1000);
      return read(at.length);
    };
    for await (const _ of poll({ read: reading, isEnd: () => false, signal: stop.signal, onWake }));
  })();
  await vi.advanceTimersByTimeAsync(seconds * 1000);
  stop.abort();
  await all;
  expect(vi.getTimerCount()).toBe(0);
  return at;
}

test('backs off from 1 s to 30 s', async () => {
  expect(await readsWithin(130, () => 'same')).toEqual([0, 1, 3, 7, 15, 31, 61, 91, 121]);
});

test('begins at 1 s again after a change', async () => {
  expect(await readsWithin(20, (n) => n > 4)).toEqual([0, 1, 3, 7, 15, 16, 18]);
});

test('backs off from failures too', async () => {
  const read = () => {
    throw new HourBankError('Throttled');
  };
  expect(await readsWithin(40, read)).toEqual([0, 1, 3, 7, 15, 31]);
});

test('gives up on what stays missing', async () => {
  const missing = () => {
    throw new HourBankError('NotFound');
  };
  const reading = poll({ read: async () => missing(), isEnd: () => false }).next();
  const failed = expect(reading).rejects.toMatchObject({ kind: 'NotFound' });
  await vi.advanceTimersByTimeAsync(7_000);
  await failed;
});

test('reads at once when it is woken, also while it reads', async () => {
  let wake = (): void => undefined;
  let stopped = false;
  const reads = readsWithin(
    10,
    (n) => {
      if (n === 3) wake();
      return 'same';
    },
    (given) => {
      wake = given;
      setTimeout(wake, 5_000);
      return () => void (stopped = true);
    },
  );
  // reads at 0, 1, and 3, where it is woken by itself; then at 4, 5 by the timer
  expect(await reads).toEqual([0, 1, 3, 3, 4, 5, 6, 8]);
  expect(stopped).toBe(true);
});

test('reads at once when the browser is online again', async () => {
  const listeners = new Map<string, () => void>();
  vi.stubGlobal('addEventListener', (name: string, listener: () => void) => listeners.set(name, listener));
  vi.stubGlobal('removeEventListener', (name: string) => listeners.delete(name));
  setTimeout(() => listeners.get('online')?.(), 20_000);

  expect(await readsWithin(22, () => 'same')).toEqual([0, 1, 3, 7, 15, 20, 21]);
  expect(listeners.size).toBe(0);
  vi.unstubAllGlobals();
});

test('leaving the loop aborts the read', async () => {
  let aborted: AbortSignal | undefined;
  const read = async (signal: AbortSignal) => Boolean((aborted = signal));
  for await (const _ of poll({ read, isEnd: () => false })) break;
  expect(aborted?.aborted).toBe(true);
});
