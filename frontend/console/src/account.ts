import { Amplify } from 'aws-amplify';
import { generateClient } from 'aws-amplify/api';
import { decodeJWT } from 'aws-amplify/auth';

import { createHourBank, type HourBank } from '../../src';
import { toHourBankError } from '../../src/errors';
import { SELECTION, toServiceRequest, type ServiceRequest } from '../../src/request';
import type { Config, Person } from './local';

/** What a person sees of the time bank through Amplify's API. */
export interface View {
  available: number;
  /** The newest first. */
  requests: ServiceRequest[];
  /** Hours of each request's escrow, whatever became of them. */
  held: ReadonlyMap<string, number>;
}

const QUERY = `query Look($me: ID!) {
  getUserBalance(userId: $me) { availableBalance }
  listServiceRequests(limit: 1000) { items { ${SELECTION} } }
  listEscrows(limit: 1000) { items { id hours } }
}`;

/** One person's client. Amplify is configured once, and asks for a token at each call. */
export interface Account {
  hourBank: HourBank;
  look: (person: Person) => Promise<View>;
}

/**
 * Configures Amplify for the stand-in.
 *
 * @param whoAmI - Asked at every call, so that another person is another token and nothing else.
 */
export function openAccount(config: Config, whoAmI: () => Person): Account {
  Amplify.configure(
    {
      API: {
        GraphQL: {
          endpoint: new URL(config.graphqlEndpoint, location.href).href,
          region: config.region,
          defaultAuthMode: 'userPool',
        },
      },
    },
    { Auth: { tokenProvider: { getTokens: async () => ({ accessToken: decodeJWT(whoAmI().token) }) } } },
  );
  const client = generateClient();
  return {
    // the stack `local` takes seconds to answer
    hourBank: createHourBank({ client, shortestTimeoutSeconds: 1 }),
    look: async (person) => {
      try {
        const answer = await client.graphql({ query: QUERY, variables: { me: person.userId } });
        return toView((answer as { data: Answer }).data);
      } catch (thrown) {
        throw toHourBankError(thrown);
      }
    },
  };
}

interface Answer {
  getUserBalance: { availableBalance: number } | null;
  listServiceRequests: { items: unknown[] };
  listEscrows: { items: { id: string; hours: number }[] };
}

function toView({ getUserBalance, listServiceRequests, listEscrows }: Answer): View {
  const requests = listServiceRequests.items.map(toServiceRequest);
  return {
    available: getUserBalance?.availableBalance ?? 0,
    requests: requests.sort((one, other) => other.createdAt.localeCompare(one.createdAt)),
    held: new Map(listEscrows.items.map(({ id, hours }) => [id, hours])),
  };
}
