import { Amplify } from 'aws-amplify';
import { decodeJWT } from 'aws-amplify/auth';
import type { ReactElement } from 'react';
import { TimeBank } from './time-bank';

interface Config {
  people: { userId: string; name: string; token: string }[];
  region: string;
}

const addressOf = (userId: string): string => `#${encodeURIComponent(userId)}`;

/** Signs in as one of the people of `make up`. The address says who, so that each window can be another person. */
export async function start(): Promise<ReactElement> {
  const answer = await fetch('/local/config').catch(() => undefined);
  if (!answer?.ok) return <p role="alert">No local run answers. Type make up in the project's folder, and load this again.</p>;
  const { people, region } = (await answer.json()) as Config;

  addEventListener('hashchange', () => location.reload());
  const me = people.find(({ userId }) => addressOf(userId) === location.hash);
  if (!me) return <Choice people={people} />;

  // in capitals, or Amplify's client asks for TLS where it subscribes
  const endpoint = `${location.origin.replace('http', 'HTTP')}/graphql`;
  Amplify.configure(
    { API: { GraphQL: { endpoint, region, defaultAuthMode: 'userPool' } } },
    { Auth: { tokenProvider: { getTokens: async () => ({ accessToken: decodeJWT(me.token) }) } } },
  );
  return <TimeBank me={me.userId} people={people} signOut={() => (location.hash = '')} />;
}

function Choice({ people }: Pick<Config, 'people'>): ReactElement {
  return (
    <main>
      <h1>Who are you?</h1>
      <p>Nobody is verified on a local run. Open another window to be another person.</p>
      <ul className="choice">
        {people.map(({ userId, name }) => (
          <li key={userId}>
            <a href={addressOf(userId)}>{name}</a>
          </li>
        ))}
      </ul>
    </main>
  );
}
