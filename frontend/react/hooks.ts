import { createContext, createElement, useContext, useMemo, useSyncExternalStore, type ReactElement, type ReactNode } from 'react';
import {
  createHourBank,
  HourBankError,
  type Act,
  type BalanceState,
  type HourBank,
  type RequestsQuery,
  type RequestsState,
  type RequestState,
} from '../src/index.js';
import { NO_WATCH, Watch, type Watched } from './watching.js';

let usual: HourBank | undefined;
const Context = createContext<HourBank | undefined>(undefined);

/** Gives the components within it a client of the app's own, for instance with other options. Without it there is one. */
export function HourBankProvider({
  hourBank,
  children,
}: {
  readonly hourBank: HourBank;
  readonly children?: ReactNode;
}): ReactElement {
  return createElement(Context.Provider, { value: hourBank }, children);
}

/** The client. */
export function useHourBank(): HourBank {
  return useContext(Context) ?? (usual ??= createHourBank());
}

/** What a hook knows beside the state itself. */
export interface Watching {
  /** Why it is watched no more, such as `SignedOut`. */
  readonly error: HourBankError | undefined;
  /** Begins anew, after an error or when somebody else has signed in. */
  readonly again: () => void;
}

const watches = new WeakMap<HourBank, Map<string, Watch<unknown>>>();

function useWatch<T>(
  key: string | undefined,
  watch: (hourBank: HourBank, signal: AbortSignal) => AsyncIterable<T>,
): Watched<T> & Watching {
  const hourBank = useHourBank();
  const shared = useMemo(() => {
    if (key === undefined) return NO_WATCH;
    const known = watches.get(hourBank) ?? new Map<string, Watch<unknown>>();
    watches.set(hourBank, known);
    const found = known.get(key) ?? new Watch<unknown>((signal) => watch(hourBank, signal));
    known.set(key, found);
    return found as Watch<T>;
    // the key says what is watched
  }, [hourBank, key]);
  const known = useSyncExternalStore<Watched<T>>(shared.subscribe, shared.known, NO_WATCH.known);
  if (known.bug !== undefined) throw known.bug;
  return { ...known, again: shared.again };
}

/** A request as it is now, until it has ended; `undefined` is none. */
export function useRequest(requestId: string | undefined): Partial<RequestState> &
  Watching & {
    /** Says one of `acts`; `hours` are a counter-offer's. Rejects with a HourBankError. */
    readonly say: (act: Act, hours?: number) => Promise<void>;
  } {
  const hourBank = useHourBank();
  const id = requestId ?? '';
  const { state, error, again } = useWatch(requestId === undefined ? undefined : `request ${id}`, (bank, signal) =>
    bank.watch(id, { signal }),
  );
  const say = useMemo(() => (act: Act, hours?: number) => hourBank.say(id, act, hours), [hourBank, id]);
  return { ...state, error, again, say };
}

/** The signed-in user's own requests, the newest first. */
export function useRequests(query: RequestsQuery = {}): Partial<RequestsState> & Watching {
  const { state, error, again } = useWatch(`requests ${JSON.stringify([query.role, query.status])}`, (bank, signal) =>
    bank.watchRequests(query, { signal }),
  );
  return { ...state, error, again };
}

/** The hours that the signed-in user can spend. */
export function useBalance(): Partial<BalanceState> & Watching {
  const { state, error, again } = useWatch('balance', (bank, signal) => bank.watchBalance({ signal }));
  return { ...state, error, again };
}
