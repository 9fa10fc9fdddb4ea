import { generateClient } from 'aws-amplify/api';
import { fetchAuthSession } from 'aws-amplify/auth';
import { HourBankError, toHourBankError } from './errors.js';
import { isLegalHours, LEGAL_HOURS } from './hours.js';
import { poll } from './polling.js';
import {
  ACTS,
  isEnded,
  isSaid,
  NEWER_FIELDS,
  possibleActs,
  roleOf,
  SELECTION,
  STATUSES,
  toServiceRequest,
  type Act,
  type ProviderAct,
  type RequesterAct,
  type Role,
  type ServiceRequest,
  type Status,
} from './request.js';

// as in handlers/bank/requests.py
const LONGEST_ID_BYTES = 1024;
const LONGEST_TIMEOUT_SECONDS = 30 * 24 * 3600;
const LONGEST_CALL_MS = 30_000;
// a page of DynamoDB's own size: a list is read page by page, whatever of it is one's own
const LARGEST_PAGE = 1000;

// no request's id is empty
const EVERYTHING = '';
const FIELD_OF = { requester: 'requesterId', provider: 'providerId' } as const satisfies Record<Role, keyof ServiceRequest>;

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

/** Which of one's own requests. */
export interface RequestsQuery {
  /** On which side one is. Default: either. */
  readonly role?: Role | undefined;
  /** Default: any. */
  readonly status?: Status | readonly Status[] | undefined;
}

export interface RequestsPage {
  /** In no order. A page can have few, even none, and yet not be the last. */
  readonly requests: readonly ServiceRequest[];
  /** What to give for the next page; null after the last. */
  readonly nextToken: string | null;
}

/** A request among others, and what the signed-in user can do with it now. */
export interface ListedRequest {
  readonly request: ServiceRequest;
  readonly role: Role | undefined;
  readonly acts: readonly Act[];
  readonly ended: boolean;
}

/** What is known of a list that is watched. */
export interface RequestsState {
  /** The newest first; undefined until they were read once. */
  readonly requests: readonly ListedRequest[] | undefined;
  /** Why they cannot be read at the moment; it is tried again. */
  readonly trouble: HourBankError | undefined;
}

/** What is known of a balance that is watched. */
export interface BalanceState {
  /** Undefined until it was read once. */
  readonly hours: number | undefined;
  /** Why it cannot be read at the moment; it is tried again. */
  readonly trouble: HourBankError | undefined;
}

/** What is known of a request that is watched. */
export interface RequestState {
  /** As it was read last; undefined until that has worked once. */
  readonly request: ServiceRequest | undefined;
  /** On which side the signed-in user is. */
  readonly role: Role | undefined;
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
  /** Either's word by its name, for a page that makes a button of each of `acts`; `hours` are a counter-offer's. */
  say(requestId: string, act: Act, hours?: number): Promise<void>;
  /**
   * A page of the signed-in user's own requests.
   *
   * Amplify reads `limit` records of the whole table (default 100, at most 1000) and leaves out what is not wanted.
   */
  requests(query?: RequestsQuery & { readonly limit?: number; readonly nextToken?: string | null }): Promise<RequestsPage>;
  /** The hours that the signed-in user can spend, without those that are held; 0 where there is no balance yet. */
  balance(): Promise<number>;
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
  /** All of one's own requests, from now until the signal aborts; read as `watch` reads one, and never at its end. */
  watchRequests(
    query?: RequestsQuery,
    options?: { readonly signal?: AbortSignal | undefined },
  ): AsyncGenerator<RequestsState, void, void>;
  /** The balance, from now until the signal aborts; read as `watchRequests` reads. */
  watchBalance(options?: { readonly signal?: AbortSignal | undefined }): AsyncGenerator<BalanceState, void, void>;
  /**
   * Makes those who watch the request, lists or the balance read at once: for an app that was told of a change, as by a
   * subscription. Without an id, all who watch.
   */
  refresh(requestId?: string): void;
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
  let lacksNewer = false;
  const watchers = new Map<string, Set<() => void>>();

  /** Lets `refresh` wake who watches a request, or everything. */
  const wakenBy =
    (what: string) =>
    (wake: () => void): (() => void) => {
      const wakes = watchers.get(what) ?? new Set();
      watchers.set(what, wakes.add(wake));
      return () => {
        wakes.delete(wake);
        if (wakes.size === 0) watchers.delete(what);
      };
    };

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

  /** As `call`, for an operation on requests: `{fields}` in it stands for what is asked of each. */
  async function callFor(
    field: string,
    operation: string,
    variables: Record<string, unknown>,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const asking = (fields: string): Promise<unknown> =>
      call(field, operation.replace('{fields}', `{ ${fields} }`), variables, signal);
    if (lacksNewer) return asking(SELECTION);
    try {
      return await asking([SELECTION, ...NEWER_FIELDS].join(' '));
    } catch (thrown) {
      // an operation is validated before it does anything, so that it may be sent again
      if (!isOlderSchema(thrown)) throw thrown;
      lacksNewer = true;
      return asking(SELECTION);
    }
  }

  async function read(requestId: string, signal?: AbortSignal): Promise<ServiceRequest> {
    checkId('The request', requestId);
    const query = 'query ($id: ID!) { getServiceRequest(id: $id) {fields} }';
    const found = await callFor('getServiceRequest', query, { id: requestId }, signal);
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
      const query = 'mutation ($input: UpdateServiceRequestInput!) { updateServiceRequest(input: $input) {fields} }';
      toServiceRequest(await callFor('updateServiceRequest', query, { input: { id: requestId, ...says } }));
    }
    refresh(requestId);
  }

  function refresh(requestId?: string): void {
    for (const [what, wakes] of watchers) {
      if (requestId === undefined || what === requestId || what === EVERYTHING) for (const wake of wakes) wake();
    }
  }

  async function answer(
    requestId: string,
    given: Exclude<ProviderAct, 'counterOffer'> | { readonly counterOffer: number },
  ): Promise<void> {
    if (typeof given === 'string') return act(requestId, given);
    checkHours(given.counterOffer);
    return act(requestId, 'counterOffer', { counterOfferHours: given.counterOffer });
  }

  async function pageOf(
    userId: string,
    { role, status }: RequestsQuery,
    page: { readonly limit?: number | undefined; readonly nextToken?: string | null | undefined },
    signal?: AbortSignal,
  ): Promise<RequestsPage> {
    const wanted: readonly Status[] = status === undefined ? STATUSES : typeof status === 'string' ? [status] : status;
    // "is none of the others", because a request that is not begun with has no status at all
    const others = STATUSES.filter((one) => !wanted.includes(one)).map((one) => ({ status: { ne: one } }));
    const filter = {
      ...(role && { [FIELD_OF[role]]: { eq: userId } }),
      ...(others.length > 0 && { and: others }),
    };
    const { limit = 100, nextToken = null } = page;
    const query =
      'query ($filter: ModelServiceRequestFilterInput, $limit: Int, $nextToken: String) ' +
      '{ listServiceRequests(filter: $filter, limit: $limit, nextToken: $nextToken) { items {fields} nextToken } }';
    const variables = { filter: Object.keys(filter).length > 0 ? filter : null, limit, nextToken };
    const found = await callFor('listServiceRequests', query, variables, signal);
    if (typeof found !== 'object' || found === null || !('items' in found) || !Array.isArray(found.items)) {
      throw new HourBankError('MalformedAnswer');
    }
    const next = 'nextToken' in found && typeof found.nextToken === 'string' ? found.nextToken : null;
    return { requests: found.items.map(toServiceRequest), nextToken: next };
  }

  async function allOf(query: RequestsQuery, signal: AbortSignal): Promise<readonly ListedRequest[]> {
    const userId = await signedInUser();
    const found = new Map<string, ServiceRequest>();
    let nextToken: string | null = null;
    do {
      const page: RequestsPage = await pageOf(userId, query, { limit: LARGEST_PAGE, nextToken }, signal);
      for (const request of page.requests) found.set(request.id, request);
      ({ nextToken } = page);
    } while (nextToken !== null);
    return [...found.values()]
      .sort((one, other) => other.createdAt.localeCompare(one.createdAt))
      .map((request) => ({
        request,
        role: roleOf(request, userId),
        acts: possibleActs(request, userId),
        ended: isEnded(request),
      }));
  }

  async function balance(signal?: AbortSignal): Promise<number> {
    const query = 'query ($userId: ID!) { getUserBalance(userId: $userId) { availableBalance } }';
    const found = await call('getUserBalance', query, { userId: await signedInUser() }, signal);
    if (found === null) return 0;
    const hours = typeof found === 'object' && 'availableBalance' in found ? found.availableBalance : undefined;
    if (hours === null) return 0;
    if (typeof hours !== 'number') throw new HourBankError('MalformedAnswer');
    return hours;
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
      const query = 'mutation ($input: CreateServiceRequestInput!) { createServiceRequest(input: $input) {fields} }';
      try {
        toServiceRequest(await callFor('createServiceRequest', query, { input }));
      } catch (thrown) {
        // Amplify's client itself sends again what got no answer: the record that is there may be this one
        const error = toHourBankError(thrown);
        if (error.kind !== 'Conflict') throw error;
        const there = await read(id).catch(() => undefined);
        const isThis =
          there && Object.entries(input).every(([field, value]) => there[field as keyof ServiceRequest] === value);
        if (!isThis) throw error;
      }
      refresh(id);
      return id;
    },

    read: (requestId) => read(requestId),

    answer,

    respond: (requestId, response) => act(requestId, response),

    async say(requestId, name, hours) {
      if (name !== 'counterOffer') return act(requestId, name);
      return answer(requestId, { counterOffer: hours ?? Number.NaN });
    },

    requests: async ({ limit, nextToken, ...query } = {}) => pageOf(await signedInUser(), query, { limit, nextToken }),

    balance: () => balance(),

    async *watchRequests(query = {}, { signal } = {}) {
      const readings = poll({
        signal,
        read: (aborted) => allOf(query, aborted),
        isEnd: () => false,
        onWake: wakenBy(EVERYTHING),
      });
      for await (const { value, trouble } of readings) yield { requests: value, trouble };
    },

    async *watchBalance({ signal } = {}) {
      const readings = poll({ signal, read: balance, isEnd: () => false, onWake: wakenBy(EVERYTHING) });
      for await (const { value, trouble } of readings) yield { hours: value, trouble };
    },

    async *watch(requestId, { signal } = {}) {
      checkId('The request', requestId);
      const readings = poll({
        signal,
        async read(aborted) {
          const [userId, request] = await Promise.all([signedInUser(), read(requestId, aborted)]);
          const role = roleOf(request, userId);
          return { request, role, acts: possibleActs(request, userId), ended: isEnded(request) };
        },
        isEnd: ({ ended }) => ended,
        onWake: wakenBy(requestId),
      });
      for await (const { value, trouble } of readings) {
        yield { ...(value ?? { request: undefined, role: undefined, acts: [], ended: false }), trouble };
      }
    },

    refresh,
  };
}

/** Whether the API refused an operation because its schema has no such field yet: the message names it. */
function isOlderSchema(thrown: unknown): boolean {
  if (!(thrown instanceof HourBankError) || thrown.kind !== 'Refused') return false;
  const { errors } = thrown.cause as { errors?: unknown };
  const messages = Array.isArray(errors) ? errors.map((error) => String((error as { message?: unknown })?.message)) : [];
  return NEWER_FIELDS.some((field) => messages.some((message) => message.includes(field)));
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
