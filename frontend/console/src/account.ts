import { Amplify } from 'aws-amplify';
import { decodeJWT } from 'aws-amplify/auth';

import { createHourBank, type HourBank, type RequestsPage, type ServiceRequest } from '../../src';
import type { Config, Person } from './local';

/** What a person sees of the time bank through Amplify's API. */
export interface View {
  available: number;
  /** The newest first. */
  requests: ServiceRequest[];
}

/** One person's client. Amplify is configured once, and asks for a token at each call. */
export interface Account {
  hourBank: HourBank;
  look: () => Promise<View>;
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
  // the stack `local` takes seconds to answer
  const hourBank = createHourBank({ shortestTimeoutSeconds: 1 });
  return {
    hourBank,
    look: async () => {
      const [available, requests] = await Promise.all([hourBank.balance(), allRequests(hourBank)]);
      return { available, requests: requests.sort((one, other) => other.createdAt.localeCompare(one.createdAt)) };
    },
  };
}

async function allRequests(hourBank: HourBank): Promise<ServiceRequest[]> {
  const found: ServiceRequest[] = [];
  let nextToken: string | null = null;
  do {
    const page: RequestsPage = await hourBank.requests({ limit: 1000, nextToken });
    found.push(...page.requests);
    ({ nextToken } = page);
  } while (nextToken !== null);
  return found;
}
