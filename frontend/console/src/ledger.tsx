import { useEffect, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';

import type { Entry, Ledger as Hours } from './local';
import { hours, inHundredths } from './words';

const SHOWN_FOR_MS = 8000;

const ENTRIES: Record<string, string> = {
  ESCROW_HOLD: 'Held',
  ESCROW_ADJUST: 'Adjusted',
  ESCROW_REFUND: 'Given back',
  ESCROW_RELEASE: 'Paid',
  GRANT: 'Granted',
};

/** All hours there are, as an operator sees them: who has them, what is held, and each move. */
export function Ledger({ ledger, name }: { ledger: Hours; name: (userId: string) => string }): JSX.Element {
  const accounts = [
    ...ledger.balances.map(({ userId, availableBalance }, index) => ({
      key: userId,
      look: `account-${index % 3}`,
      label: name(userId),
      amount: inHundredths(availableBalance),
    })),
    { key: '', look: 'held', label: 'Held', amount: inHundredths(ledger.held) },
  ];
  const isLong = accounts.some(({ amount }) => String(amount / 100).length > 6);
  const changes = useChanges(Object.fromEntries(accounts.map(({ key, amount }) => [key, amount])));
  const entries = [...ledger.entries].sort((one, other) => other.createdAt.localeCompare(one.createdAt));
  const isNew = useNew(entries.map((entry) => entry.id));

  return (
    <section class="ledger" aria-labelledby="ledger-title">
      <header>
        <h2 id="ledger-title">The ledger</h2>
        <p class="quiet">what an operator sees; users of an app do not</p>
      </header>
      <div class="bar" aria-hidden="true">
        {accounts.map(({ key, look, amount }) => (
          <div key={key} class={look} style={{ flexGrow: amount }} hidden={amount === 0} />
        ))}
      </div>
      <dl class={`accounts ${isLong ? 'long' : ''}`} aria-label="Hours of each person, held, and all together">
        {accounts.map(({ key, look, label, amount }) => (
          <div key={key}>
            <dt>
              <span class={`key ${look}`} aria-hidden="true" />
              {label}
            </dt>
            <dd>
              {amount / 100}
              <Change by={changes[key] ?? 0} />
            </dd>
          </div>
        ))}
        <div class="all">
          <dt>In all</dt>
          <dd>
            {inHundredths(ledger.total) / 100}
            <span class="quiet">as granted</span>
          </dd>
        </div>
      </dl>
      <div>
        <h3 id="log-title" class="hidden">
          Every move of hours
        </h3>
        {entries.length === 0 ? (
          <p class="quiet">No hours have moved yet.</p>
        ) : (
          <ol class="log" aria-labelledby="log-title" tabIndex={0}>
            {entries.map((entry) => (
              <li key={entry.id} class={isNew(entry.id) ? 'new' : ''}>
                <strong>{ENTRIES[entry.type] ?? entry.type}</strong>
                <span>{hours(entry.hours)}</span>
                <span>
                  {account(entry.fromAccount, name)} → {account(entry.toAccount, name)}
                  {entry.reason && <span class="quiet"> for: {entry.reason}</span>}
                </span>
                {isNew(entry.id) && <em>new</em>}
              </li>
            ))}
          </ol>
        )}
      </div>
    </section>
  );
}

function Change({ by }: { by: number }): JSX.Element {
  if (by === 0) return <span />;
  return (
    <span class="changed">
      {by > 0 ? '▲ +' : '▼ −'}
      {Math.abs(by) / 100}
    </span>
  );
}

function account(account: Entry['fromAccount'], name: (userId: string) => string): string {
  if (account === 'bank') return 'the bank';
  return account.startsWith('user:') ? name(account.slice('user:'.length)) : 'escrow';
}

/** The last change of each amount, for some seconds. */
function useChanges(amounts: Record<string, number>): Record<string, number> {
  const before = useRef(amounts);
  const [changes, setChanges] = useState<Record<string, number>>({});
  const now = JSON.stringify(amounts);
  useEffect(() => {
    const changed = Object.entries(amounts)
      .map(([key, amount]) => [key, amount - (before.current[key] ?? 0)] as const)
      .filter(([, by]) => by !== 0);
    before.current = amounts;
    if (changed.length === 0) return undefined;
    setChanges(Object.fromEntries(changed));
    const timer = setTimeout(() => setChanges({}), SHOWN_FOR_MS);
    return () => clearTimeout(timer);
  }, [now]);
  return changes;
}

/** Whether an entry has come since the page was opened, and only just. */
function useNew(ids: string[]): (id: string) => boolean {
  const since = useRef<Map<string, number> | null>(null);
  const [, look] = useState(0);
  since.current ??= new Map(ids.map((id) => [id, 0]));
  for (const id of ids) if (!since.current.has(id)) since.current.set(id, Date.now());
  useEffect(() => {
    const timer = setTimeout(() => look((count) => count + 1), SHOWN_FOR_MS);
    return () => clearTimeout(timer);
  }, [ids.length]);
  return (id) => Date.now() - (since.current?.get(id) ?? 0) < SHOWN_FOR_MS;
}
