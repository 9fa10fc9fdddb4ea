import { HourBankError } from '../src/index.js';

/** What is known of something that is watched. */
export interface Watched<T> {
  /** What was read last; undefined until that has worked once. */
  readonly state: T | undefined;
  /** Why it is watched no more: a failure that does not pass by itself. `again` of the hook tries again. */
  readonly error: HourBankError | undefined;
  /** A mistake in the program: what else was thrown. */
  readonly bug?: unknown;
}

const NOTHING: Watched<never> = { state: undefined, error: undefined };

/** One watch for all components that look at the same: begun by the first, ended with the last. */
export class Watch<T> {
  readonly #listeners = new Set<() => void>();
  #known: Watched<T> = NOTHING;
  #stop: AbortController | undefined;

  constructor(private readonly watch: (signal: AbortSignal) => AsyncIterable<T>) {}

  readonly known = (): Watched<T> => this.#known;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#begin();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#end();
    };
  };

  readonly again = (): void => {
    this.#end();
    this.#begin();
    this.#tell();
  };

  #begin(): void {
    const { signal } = (this.#stop = new AbortController());
    void this.#follow(signal);
  }

  #end(): void {
    this.#stop?.abort();
    this.#known = NOTHING;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const learn = (known: Watched<T>): void => {
      if (signal.aborted) return;
      this.#known = known;
      this.#tell();
    };
    try {
      for await (const state of this.watch(signal)) learn({ state, error: undefined });
    } catch (error) {
      learn(
        error instanceof HourBankError
          ? { state: this.#known.state, error }
          : { state: undefined, error: undefined, bug: error },
      );
    }
  }
}

/** For nothing to watch. */
export const NO_WATCH = {
  known: (): Watched<never> => NOTHING,
  subscribe: () => () => undefined,
  again: () => undefined,
};
