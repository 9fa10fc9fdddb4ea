import { generateClient } from 'aws-amplify/api';
import { fetchAuthSession } from 'aws-amplify/auth';
import { HourBankError, toHourBankError } from './errors.js';
import { isLegalHours, LEGAL_HOURS } from './hours.js';
import { poll } from './polling.js';
import {
  ACTS,
  isEnded,
  isSaid,
  possibleActs,
  roleOf,
  SELECTION,
  toServiceRequest,
  type Act,
  type ProviderAct,
  type RequesterAct,
  type ServiceRequest,
} from './request.js';

// as in handlers/bank/requests.py
const LONGEST_ID_BYTES = 1024;
const LONGEST_TIMEOUT_SECONDS = 30 * 24 * 3600;
const LONGEST_CALL_MS = 30_000;

/** What this package needs of Amplify's client: `generateClient()` gives one. */
export interface GraphQLClient {
  graphql(options: { query: string; variables?: Record<string, unknown>; authMode?: 'userPool' }): unknown;
  cancel(promise: Promise<unknown>, message?: string): boolean;
}

export interface HourBankOptions {
  /** Default: `generateClient()`, made at the first call, so that `Amplify.configure()` may come later. */
  readonly client?: GraphQLClient;
  /** The shortest time to answer that the stack takes. Default 60; the stack `local` takes 1. */
  readonly shortestTimeoutSeconds?: number;
}

export interface NewRequest {
  readonly serviceId: string;
  /** The `sub` of the provider's user. */
  readonly providerId: string;
  /** Above 0, at most 1,000,000, at most 2 decimal places; `parseHours` reads what a person typed. */
  readonly hours: number;
  /** How long the provider has to answer, and then the requester, in whole seconds. Default: the stack's. */
  readonly timeoutSeconds?: number | undefined;
  /** Default: a new one. The same id is the same request: sent twice, it is asked once. */
  readonly id?: string | undefined;
}

/** What is known of a request that is watched. */
export interface RequestState {
  /** As it was read last; undefined until that has worked once. */
  readonly request: ServiceRequest | undefined;
  /** What the signed-in user can do now. */
  readonly acts: readonly Act[];
  readonly ended: boolean;
  /** Why it cannot be read at the moment, for instance `Offline`; it is tried again. */
  readonly trouble: HourBankError | undefined;
}

export interface HourBank {
  /**
   * Asks a provider for a service, in the name of the signed-in user. The workflow starts by itself.
   *
   * Resolves to the request's id once the request is stored. Rejects with `InvalidInput` before anything is sent.
   */
  submitRequest(request: NewRequest): Promise<string>;
  /** The request as its requester or its provider sees it now. */
  read(requestId: string): Promise<ServiceRequest>;
  /** The provider's word. Saying the same again is nothing; what the status does not allow is `NotPossible`. */
  answer(
    requestId: string,
    answer: Exclude<ProviderAct, 'counterOffer'> | { readonly counterOffer: number },
  ): Promise<void>;
  /** The requester's word; as with `answer`. */
  respond(requestId: string, response: RequesterAct): Promise<void>;
  /**
   * The states of a request, from now until it has ended or the signal aborts.
   *
   * Reads after 1 s, then ever more rarely, at least every 30 s; at once after `answer`, `respond` and `refresh`, and
   * when the browser is online again. A failure that passes is in `trouble`; others are thrown.
   */
  watch(
    requestId: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): AsyncGenerator<RequestState, void, void>;
  /** Makes those who watch the request read it at once: for an app that was told of a change, as by a subscription. */
  refresh(requestId: string): void;
}

/** The `sub` of the signed-in user, by which the workflows know people. Rejects with `SignedOut`. */
export async function signedInUser(): Promise<string> {
  let userSub: string | undefined;
  try {
    ({ userSub } = await fetchAuthSession());
  } catch (thrown) {
    throw toHourBankError(thrown, 'SignedOut');
  }
  if (!userSub) throw new HourBankError('SignedOut');
  return userSub;
}

/** The browser's side of the workflows, over Amplify's GraphQL API and with no other right on AWS. */
export function createHourBank({ client, shortestTimeoutSeconds = 60 }: HourBankOptions = {}): HourBank {
  let made = client;
  const watchers = new Map<string, Set<() => void>>();

  /** What the API answers in a field; null where there is nothing. */
  async function call(
    field: string,
    query: string,
    variables: Record<string, unknown>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    signal?.throwIfAborted();
    // the models' rules know user pools only, whatever the app's default is
    const api = (made ??= generateClient());
    const answering = Promise.resolve(api.graphql({ query, variables, authMode: 'userPool' }));
    let giveUp = (): void => undefined;
    const givenUp = new Promise<never>((_, reject) => {
      giveUp = () => {
        reject(new HourBankError('Offline'));
        api.cancel(answering);
      };
    });
    const timer = setTimeout(giveUp, LONGEST_CALL_MS);
    signal?.addEventListener('abort', giveUp);
    let answer: unknown;
    try {
      answer = await Promise.race([answering, givenUp]);
    } catch (thrown) {
      throw toHourBankError(thrown);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
    }
    const data = typeof answer === 'object' && answer !== null && 'data' in answer ? answer.data : undefined;
    if (typeof data !== 'object' || data === null || !(field in data)) throw new HourBankError('MalformedAnswer');
    return (data as Record<string, unknown>)[field];
  }

  async function read(requestId: string, signal?: AbortSignal): Promise<ServiceRequest> {
    checkId('The request', requestId);
    const query = `query ($id: ID!) { getServiceRequest(id: $id) { ${SELECTION} } }`;
    const found = await call('getServiceRequest', query, { id: requestId }, signal);
    if (found === null) throw new HourBankError('NotFound');
    return toServiceRequest(found);
  }

  async function act(requestId: string, name: Act, more: Record<string, unknown> = {}): Promise<void> {
    const [userId, request] = await Promise.all([signedInUser(), read(requestId)]);
    if (roleOf(request, userId) !== ACTS[name].by) {
      throw new HourBankError('NotAllowed', `Only the ${ACTS[name].by} of this request can do this.`);
    }
    const says = { ...ACTS[name].writes, ...more };
    const isSame = Object.entries(more).every(([field, value]) => request[field as keyof ServiceRequest] === value);
    if (!(isSaid(request, name) && isSame)) {
      if (!possibleActs(request, userId).includes(name)) throw new HourBankError('NotPossible', whyNot(request));
      const selected = `updateServiceRequest(input: $input) { ${SELECTION} }`;
      const query = `mutation ($input: UpdateServiceRequestInput!) { ${selected} }`;
      toServiceRequest(await call('updateServiceRequest', query, { input: { id: requestId, ...says } }));
    }
    refresh(requestId);
  }

  function refresh(requestId: string): void {
    for (const wake of watchers.get(requestId) ?? []) wake();
  }

  return {
    async submitRequest({ serviceId, providerId, hours, timeoutSeconds, id = crypto.randomUUID() }) {
      checkId('The request', id);
      checkId('The service', serviceId);
      checkId('The provider', providerId);
      checkHours(hours);
      checkTimeout(timeoutSeconds, shortestTimeoutSeconds);
      const requesterId = await signedInUser();
      if (requesterId === providerId) throw new HourBankError('InvalidInput', 'You cannot ask yourself for a service.');
      const input = {
        id,
        serviceId,
        requesterId,
        providerId,
        estimatedHours: hours,
        ...(timeoutSeconds === undefined ? {} : { providerResponseTimeoutSeconds: timeoutSeconds }),
      };
      const selected = `createServiceRequest(input: $input) { ${SELECTION} }`;
      const query = `mutation ($input: CreateServiceRequestInput!) { ${selected} }`;
      try {
        toServiceRequest(await call('createServiceRequest', query, { input }));
      } catch (thrown) {
        // Amplify's client itself sends again what got no answer: the record that is there may be this one
        const error = toHourBankError(thrown);
        if (error.kind !== 'Conflict') throw error;
        const there = await read(id).catch(() => undefined);
        const isThis =
          there && Object.entries(input).every(([field, value]) => there[field as keyof ServiceRequest] === value);
        if (!isThis) throw error;
      }
      return id;
    },

    read: (requestId) => read(requestId),

    async answer(requestId, answer) {
      if (typeof answer === 'string') return act(requestId, answer);
      checkHours(answer.counterOffer);
      return act(requestId, 'counterOffer', { counterOfferHours: answer.counterOffer });
    },

    respond: (requestId, response) => act(requestId, response),

    async *watch(requestId, { signal } = {}) {
      checkId('The request', requestId);
      const readings = poll({
        signal,
        async read(aborted) {
          const [userId, request] = await Promise.all([signedInUser(), read(requestId, aborted)]);
          return { request, acts: possibleActs(request, userId), ended: isEnded(request) };
        },
        isEnd: ({ ended }) => ended,
        onWake(wake) {
          const wakes = watchers.get(requestId) ?? new Set();
          watchers.set(requestId, wakes.add(wake));
          return () => {
            wakes.delete(wake);
            if (wakes.size === 0) watchers.delete(requestId);
          };
        },
      });
      for await (const { value, trouble } of readings) {
        yield { ...(value ?? { request: undefined, acts: [], ended: false }), trouble };
      }
    },

    refresh,
  };
}

function checkId(what: string, id: string): void {
  if (typeof id !== 'string' || id === '') throw new HourBankError('InvalidInput', `${what} is missing.`);
  if (new TextEncoder().encode(id).length > LONGEST_ID_BYTES) {
    throw new HourBankError('InvalidInput', `${what} has an id of more than ${LONGEST_ID_BYTES} bytes.`);
  }
}

function checkHours(hours: number): void {
  if (!isLegalHours(hours)) {
    throw new HourBankError('InvalidInput', `The hours must be ${LEGAL_HOURS}.`);
  }
}

function checkTimeout(seconds: number | undefined, shortest: number): void {
  if (seconds === undefined) return;
  if (!Number.isInteger(seconds) || seconds < shortest || seconds > LONGEST_TIMEOUT_SECONDS) {
    throw new HourBankError(
      'InvalidInput',
      `The time to answer must be a whole number of seconds from ${shortest} to ${LONGEST_TIMEOUT_SECONDS}.`,
    );
  }
}

/** Why an act that was possible once, or will be, is not now. */
function whyNot(request: ServiceRequest): string {
  if (isEnded(request)) return 'This cannot be done any more: the request has ended.';
  if (request.status === 'IN_PROGRESS') return 'This cannot be done any more: the service is in progress.';
  return 'This cannot be done now. Look at how the request stands.';
}
