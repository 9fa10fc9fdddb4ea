/** What `hourbank up` serves beside GraphQL: who the people are, and what an operator sees. No app's user has this. */

export interface Person {
  userId: string;
  name: string;
  token: string;
}

export interface Config {
  people: Person[];
  region: string;
  graphqlEndpoint: string;
  responseTimeoutSeconds: number;
  notice: string;
  /** Names the run, and all that go on with what it has kept. */
  run: string;
}

export interface Execution {
  machine: string;
  name: string;
  status: string;
  path: string[];
  current: string | null;
  deadline: string | null;
  error: string | null;
}

export interface Executions {
  executions: Execution[];
  /** How far the server's clock is ahead of the browser's, and of the answer's way: deadlines are the server's. */
  aheadMs: number;
}

export interface Ledger {
  balances: { userId: string; availableBalance: string }[];
  escrows: { id: string; requesterId: string; providerId: string; hours: string; status: string }[];
  entries: Entry[];
  held: string;
  total: string;
}

export interface Entry {
  id: string;
  requestId: string;
  type: string;
  hours: string;
  fromAccount: string;
  toAccount: string;
  /** Why the bank granted hours; null for all other moves. */
  reason: string | null;
  createdAt: string;
}

export const readConfig = (): Promise<Config> => read('local/config');
export const readLedger = (): Promise<Ledger> => read('local/ledger');
export const readExecutions = (requestId: string): Promise<Executions> =>
  read<{ now: string; executions: Execution[] }>(`local/requests/${encodeURIComponent(requestId)}`).then(
    ({ now, executions }) => ({ executions, aheadMs: Date.parse(now) - Date.now() }),
  );

async function read<T>(path: string): Promise<T> {
  const answer = await fetch(path, { headers: { Accept: 'application/json' } });
  if (!answer.ok) throw new Error(`/${path} answered ${answer.status}`);
  return (await answer.json()) as T;
}
