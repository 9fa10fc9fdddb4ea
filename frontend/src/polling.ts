import { HourBankError, toHourBankError } from './errors.js';

const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;
// Amplify's get and Step Functions' describe are eventually consistent: what was just made can be missing at first.
const READS_UNTIL_MISSING = 4;

/** What is known: the last value that was read, and what is wrong with reading now, if anything. */
export type Reading<T> =
  | { readonly value: T; readonly trouble: HourBankError | undefined }
  | { readonly value: undefined; readonly trouble: HourBankError };

interface Polled<T> {
  read(signal: AbortSignal): Promise<T>;
  isEnd(value: T): boolean;
  signal?: AbortSignal | undefined;
  /** Gives a function that makes the next read happen at once; returns how to stop. */
  onWake?: ((wake: () => void) => () => void) | undefined;
}

/**
 * Reads until the end: at once, then after 1 s, 2 s, 4 s, ... at most 30 s, from 1 s again after a change or a wake.
 *
 * Yields what differs from the last one. Failures that pass are yielded as trouble, others thrown. Ends after the last
 * value, or silently at abort.
 */
export async function* poll<T>({ read, isEnd, signal, onWake }: Polled<T>): AsyncGenerator<Reading<T>, void, void> {
  // ours, so that leaving the loop also ends a read that is under way
  const over = new AbortController();
  const abort = (): void => over.abort();
  if (signal?.aborted) return;
  signal?.addEventListener('abort', abort);
  over.signal.addEventListener('abort', () => ring?.());
  let isWoken = false;
  let ring: (() => void) | undefined;
  const wake = (): void => {
    isWoken = true;
    ring?.();
  };
  const sleep = onWake?.(wake);
  globalThis.addEventListener?.('online', wake);

  let value: T | undefined;
  let known: string | undefined;
  let trouble: HourBankError | undefined;
  let missing = 0;
  let delay = FIRST_MS;
  try {
    while (!over.signal.aborted) {
      let isNews = false;
      isWoken = false;
      try {
        const found = await read(over.signal);
        missing = 0;
        const text = JSON.stringify(found);
        isNews = text !== known || trouble !== undefined;
        if (text !== known) delay = FIRST_MS;
        [value, known, trouble] = [found, text, undefined];
      } catch (thrown) {
        if (over.signal.aborted) return;
        const error = toHourBankError(thrown);
        if (error.kind === 'NotFound' && value === undefined && ++missing < READS_UNTIL_MISSING) {
          isNews = false;
        } else if (error.isPassing) {
          isNews = error.kind !== trouble?.kind;
          trouble = error;
        } else {
          throw error;
        }
      }
      if (over.signal.aborted) return;
      if (isNews) {
        if (trouble) yield { value, trouble } as Reading<T>;
        else yield { value: value as T, trouble };
        if (value !== undefined && !trouble && isEnd(value)) return;
      }
      if (!isWoken) {
        let timer: ReturnType<typeof setTimeout> | undefined;
        await new Promise<void>((resolve) => {
          ring = resolve;
          timer = setTimeout(resolve, delay);
        });
        clearTimeout(timer);
      }
      delay = isWoken ? FIRST_MS : Math.min(delay * 2, LONGEST_MS);
    }
  } finally {
    over.abort();
    sleep?.();
    signal?.removeEventListener('abort', abort);
    globalThis.removeEventListener?.('online', wake);
  }
}
