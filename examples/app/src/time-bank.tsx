import { generateClient } from 'aws-amplify/api';
import { createHourBank, type HourBank, type Role } from 'hourbank-frontend';
import { AskForService, HourBankProvider, ServiceRequest, useBalance, useRequests, type Names } from 'hourbank-frontend/react';
import { useEffect, useMemo, useRef, useState, type ReactElement } from 'react';

interface Person {
  userId: string;
  name: string;
}

// an app would have offers of its own, each with the id of who gives it
const SERVICES: Record<string, string> = {
  gardening: 'Help in the garden',
  lesson: 'A language lesson',
  moving: 'A hand with moving',
};

/** What one person sees. `people` are those who can be chosen; where there are none, an id is typed. */
export function TimeBank({ me, people, signOut }: { me: string; people: Person[]; signOut: () => void }): ReactElement {
  // a client for each person: what is watched is theirs
  const hourBank = useMemo(() => createHourBank(), [me]);
  useEffect(() => listen(hourBank, me), [hourBank, me]);
  const names: Names = {
    serviceName: (id) => SERVICES[id] ?? id,
    personName: (id) => people.find(({ userId }) => userId === id)?.name ?? id,
  };
  return (
    <HourBankProvider hourBank={hourBank}>
      <header>
        <h1>Time bank</h1>
        <p>
          You are <b>{names.personName!(me)}</b>. <Balance />
        </p>
        <button type="button" onClick={signOut}>
          Sign out
        </button>
      </header>
      <main>
        <Ask others={people.filter(({ userId }) => userId !== me)} {...names} />
        <Requests title="Asked of you" role="provider" {...names} />
        <Requests title="Asked by you" role="requester" {...names} />
      </main>
    </HourBankProvider>
  );
}

/** Reads again when something is told, where the backend tells; without it an app reads every 30 seconds at least. */
function listen(hourBank: HourBank, userId: string): () => void {
  const query = 'subscription Mine($userId: ID!) { onRequestEvent(userId: $userId) { requestId } }';
  const told = generateClient().graphql({ query, variables: { userId }, authMode: 'userPool' });
  if (!('subscribe' in told)) return () => {};
  const subscription = told.subscribe({
    next: ({ data }) => hourBank.refresh(data.onRequestEvent.requestId),
    error: () => console.info('Nothing is told here: docs/app/subscriptions.md'),
  });
  return () => subscription.unsubscribe();
}

function Balance(): ReactElement {
  const { hours, error, trouble } = useBalance();
  return <span role="status">{(error ?? trouble)?.message ?? (hours !== undefined && `You have ${hours} h.`)}</span>;
}

function Ask({ others, ...names }: { others: Person[] } & Names): ReactElement {
  const [serviceId, setService] = useState('gardening');
  const [providerId, setProvider] = useState(others[0]?.userId ?? '');
  const [asked, setAsked] = useState(0);
  const first = useRef<HTMLSelectElement>(null);
  return (
    <section className="hourbank" aria-labelledby="ask">
      <h2 id="ask">Ask for a service</h2>
      <label>
        What for
        <select ref={first} value={serviceId} onChange={({ target }) => setService(target.value)}>
          {Object.entries(SERVICES).map(([id, name]) => (
            <option key={id} value={id}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Whom
        {others.length > 0 ? (
          <select value={providerId} onChange={({ target }) => setProvider(target.value)}>
            {others.map(({ userId, name }) => (
              <option key={userId} value={userId}>
                {name}
              </option>
            ))}
          </select>
        ) : (
          <input value={providerId} placeholder="their id" onChange={({ target }) => setProvider(target.value.trim())} />
        )}
      </label>
      <AskForService
        key={asked}
        serviceId={serviceId}
        providerId={providerId}
        onAsked={() => {
          setAsked(asked + 1);
          first.current?.focus();
        }}
        {...names}
      />
      <p role="status">{asked > 0 && 'Asked. Follow it below.'}</p>
    </section>
  );
}

function Requests({ title, role, ...names }: { title: string; role: Role } & Names): ReactElement {
  const { requests, trouble, error, again } = useRequests({ role });
  return (
    <section aria-labelledby={role}>
      <h2 id={role}>{title}</h2>
      {requests?.length === 0 && <p>Nothing yet.</p>}
      <ul>
        {requests?.map(({ request: { id, serviceId, providerId } }) => (
          <li key={id}>
            <ServiceRequest requestId={id} serviceId={serviceId} providerId={providerId} {...names} />
          </li>
        ))}
      </ul>
      <p role="alert">{(error ?? trouble)?.message}</p>
      {error && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </section>
  );
}
