import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { JSX } from 'preact';

import { HourBankError, isEnded, type ServiceRequest } from '../../src';
import { openAccount, type View } from './account';
import { Ledger } from './ledger';
import { readConfig, readExecutions, readLedger, type Config, type Person } from './local';
import { NewRequest } from './new-request';
import { usePolled } from './polling';
import { Request } from './request';
import { capitalised, hours, story } from './words';
import { Workflow } from './workflow';

const POLL_MS = 700;

export function App(): JSX.Element {
  const config = usePolled('config', readConfig, 5000);
  if (config.value) return <Bank config={config.value} />;
  return <main class="start">{config.error ? <Trouble error={config.error} /> : <p>Loading…</p>}</main>;
}

function Bank({ config }: { config: Config }): JSX.Element {
  const { me, chosen, go } = usePlace(config.people);
  const begun = useRun(config.run);
  const whoAmI = useRef(me);
  whoAmI.current = me;
  const account = useMemo(() => openAccount(config, () => whoAmI.current), [config.region]);
  const name = (userId: string): string =>
    capitalised(config.people.find((person) => person.userId === userId)?.name ?? userId);

  const view = usePolled(me.userId, account.look, POLL_MS);
  const ledger = usePolled('ledger', readLedger, POLL_MS);
  const held = new Map(ledger.value?.escrows.map((escrow) => [escrow.id, Number(escrow.hours)]));
  const requests = sorted(view.value?.requests ?? []);
  const shown = requests.find((request) => request.id === chosen) ?? requests[0];
  const executions = usePolled(shown?.id ?? null, () => readExecutions(shown?.id ?? ''), POLL_MS);
  const newest = (machine: string) => executions.value?.executions.filter((one) => one.machine === machine).at(-1);
  const asking = newest('ServiceRequestWorkflow');

  useEffect(() => {
    document.title = `${name(me.userId)} · HourBank`;
  }, [me]);

  const goOnAs = (userId: string, requestId: string): void => {
    go(userId, requestId);
    document.getElementById(`person-${userId}`)?.focus();
  };

  const isEarlier = (request: ServiceRequest): boolean => isEnded(request) && request !== shown;
  const toCard = (request: ServiceRequest): JSX.Element => (
    <Request
      key={request.id}
      request={request}
      me={me.userId}
      name={name}
      held={held.get(request.id) ?? null}
      available={view.value?.available ?? 0}
      deadline={request === shown ? (asking?.deadline ?? null) : null}
      aheadMs={executions.value?.aheadMs ?? 0}
      isShown={request === shown}
      onShow={() => go(me.userId, request.id)}
      onBecome={(userId) => goOnAs(userId, request.id)}
      onAct={async (act, offer) => {
        if (request !== shown) go(me.userId, request.id);
        await account.hourBank.say(request.id, act, offer).finally(view.again);
      }}
    />
  );

  return (
    <>
      <header class="top">
        <div>
          <h1>HourBank</h1>
          <p>Ask as one person, answer as another, and watch the workflows move the hours.</p>
        </div>
        <People people={config.people} me={me} available={view.value?.available} onBecome={(userId) => go(userId, chosen)} />
      </header>
      {Boolean(view.error ?? ledger.error) && <Trouble error={view.error ?? ledger.error} />}
      {begun.isAnother && (
        <div class="problem trouble" role="alert">
          <p>
            <strong>HourBank was started anew.</strong> The requests and hours that this page has shown are gone.{' '}
            <code>make up ARGS=--keep</code> keeps them from now on.
          </p>
          <button type="button" class="link" onClick={begun.onSeen}>
            Go on
          </button>
        </div>
      )}
      <News key={me.userId} requests={requests} me={me.userId} view={view.value} held={held} name={name} />
      <main>
        <section class="mine" aria-labelledby="mine-title">
          <h2 id="mine-title" class="hidden">
            Requests of {name(me.userId)}
          </h2>
          {view.value && (
            <NewRequest
              key={me.userId}
              others={config.people.filter((person) => person !== me)}
              name={name}
              available={view.value.available}
              isOpenByItself={requests.every(isEnded)}
              hourBank={account.hourBank}
              onSubmitted={(id) => {
                go(me.userId, id);
                view.again();
              }}
            />
          )}
          {requests.filter((request) => !isEarlier(request)).map(toCard)}
          {requests.some(isEarlier) && (
            <details>
              <summary>Earlier requests</summary>
              {requests.filter(isEarlier).map(toCard)}
            </details>
          )}
        </section>
        <div class="seen">
          {ledger.value && <Ledger ledger={ledger.value} name={name} />}
          <section class="workflows" aria-labelledby="workflows-title">
            <h2 id="workflows-title">
              The workflows
              {shown && <span class="quiet"> of “{shown.serviceId}”</span>}
            </h2>
            <Workflow
              machine="ServiceRequestWorkflow"
              purpose="Holds the hours, asks the provider, and waits for the answer."
              execution={asking}
            />
            <Workflow
              machine="EscrowManagementWorkflow"
              purpose="Pays the provider, or gives the hours back, once the service has ended."
              execution={newest('EscrowManagementWorkflow')}
            />
          </section>
        </div>
      </main>
      <footer class="bottom">
        <p>{config.notice}</p>
      </footer>
    </>
  );
}

function People({
  people,
  me,
  available,
  onBecome,
}: {
  people: Person[];
  me: Person;
  available: number | undefined;
  onBecome: (userId: string) => void;
}): JSX.Element {
  return (
    <fieldset class="people">
      <legend>You are</legend>
      {people.map(({ userId, name }) => (
        <label key={userId}>
          <input
            type="radio"
            name="person"
            id={`person-${userId}`}
            checked={userId === me.userId}
            onChange={() => onBecome(userId)}
          />
          <span>
            {capitalised(name)}
            {userId === me.userId && <small>{available === undefined ? '' : hours(available)}</small>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}

/** What changed, told to screen readers: the page shows it elsewhere. */
function News({
  requests,
  me,
  view,
  held,
  name,
}: {
  requests: ServiceRequest[];
  me: string;
  view: View | undefined;
  held: ReadonlyMap<string, number>;
  name: (userId: string) => string;
}): JSX.Element {
  const known = useRef<Map<string, string> | null>(null);
  const [news, setNews] = useState('');
  const statuses = new Map(requests.map((request) => [request.id, request.status]));
  useEffect(() => {
    if (!view) return;
    const changed = requests.filter((request) => known.current && known.current.get(request.id) !== request.status);
    known.current = statuses;
    const told = changed.map((request) => {
      const { label, sentence } = story(request, me, {
        requester: name(request.requesterId),
        provider: name(request.providerId),
        held: held.get(request.id) ?? null,
        available: view.available,
      });
      return `${request.serviceId}: ${label}. ${sentence}`;
    });
    if (told.length > 0) setNews(`${told.join(' ')} You have ${hours(view.available)}.`);
  }, [JSON.stringify([...statuses]), view === undefined]);
  return (
    <p class="hidden" aria-live="polite">
      {news}
    </p>
  );
}

function Trouble({ error }: { error: unknown }): JSX.Element {
  const isForGood = error instanceof HourBankError && !error.isPassing;
  return (
    <p class="problem trouble" role="alert">
      {isForGood ? (
        error.message
      ) : (
        <>
          <strong>The server does not answer.</strong> Is <code>make up</code> still running? This page goes on by
          itself as soon as it does.
        </>
      )}
    </p>
  );
}

/**
 * Who one is and which request one looks at: `#ben/<request>` of the address, so that each window can be another person,
 * a reload changes nothing, and Back goes back.
 */
function usePlace(people: Person[]): {
  me: Person;
  chosen: string | null;
  go: (userId: string, requestId: string | null) => void;
} {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const look = (): void => setHash(location.hash);
    addEventListener('popstate', look);
    return () => removeEventListener('popstate', look);
  }, []);
  const [userId, requestId] = hash.slice(1).split('/').map(decoded);
  return {
    me: people.find((person) => person.userId === userId) ?? people[0]!,
    chosen: requestId || null,
    go: (userId, requestId) => {
      const parts = requestId === null ? [userId] : [userId, requestId];
      const next = `#${parts.map(encodeURIComponent).join('/')}`;
      if (next !== location.hash) history.pushState(null, '', next);
      setHash(next);
    },
  };
}

const RUN = 'hourbank-run';

/** Whether this window has shown another run, also before it was loaded anew, until somebody has seen it said. */
function useRun(run: string): { isAnother: boolean; onSeen: () => void } {
  const [known, setKnown] = useState(() => sessionStorage.getItem(RUN) ?? run);
  useEffect(() => sessionStorage.setItem(RUN, known), [known]);
  return { isAnother: known !== run, onSeen: () => setKnown(run) };
}

/** A part of an address that somebody may have typed. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** What has not ended comes first. */
function sorted(requests: ServiceRequest[]): ServiceRequest[] {
  return [...requests.filter((request) => !isEnded(request)), ...requests.filter(isEnded)];
}
