import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

export interface Polled<T> {
  value: T | undefined;
  error: unknown;
  /** Reads now, and goes on from there. */
  again: () => void;
}

/**
 * Reads something again and again, one read after the other; a failed read keeps the last value and is tried again.
 * While the page is hidden nothing is read.
 *
 * @param key - What is read; another key drops the value, and the answer to an earlier key is not looked at. Nothing is
 *   read for null.
 */
export function usePolled<T>(key: string | null, read: () => Promise<T>, milliseconds: number): Polled<T> {
  const [state, setState] = useState<{ key: string | null; value?: T; error?: unknown }>({ key });
  const latest = useRef(read);
  latest.current = read;
  const wake = useRef<() => void>(() => undefined);

  useEffect(() => {
    if (key === null) return undefined;
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isReading = false;
    const look = async (): Promise<void> => {
      clearTimeout(timer);
      if (isOver || isReading || document.hidden) return;
      isReading = true;
      try {
        const value = await latest.current();
        if (!isOver) setState({ key, value });
      } catch (error) {
        if (!isOver) setState((before) => ({ ...(before.key === key ? before : { key }), error }));
      }
      isReading = false;
      if (!isOver) timer = setTimeout(() => void look(), milliseconds);
    };
    wake.current = () => void look();
    const onVisible = (): void => wake.current();
    document.addEventListener('visibilitychange', onVisible);
    void look();
    return () => {
      isOver = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisible);
    };
  }, [key, milliseconds]);

  const again = useCallback(() => wake.current(), []);
  const isCurrent = state.key === key;
  return { value: isCurrent ? state.value : undefined, error: isCurrent ? state.error : undefined, again };
}
