import { HourBankError } from './errors.js';

/** In the order of a request's life; what stands after `IN_PROGRESS` are ends. */
export const STATUSES = [
  'PENDING',
  'VALIDATING',
  'ESCROWED',
  'AWAITING_PROVIDER',
  'NEGOTIATING',
  'IN_PROGRESS',
  'COMPLETED',
  'REJECTED',
  'DECLINED',
  'CANCELLED',
  'TIMED_OUT',
  'FAILED',
] as const;
const PROVIDER_RESPONSES = ['ACCEPTED', 'REJECTED', 'COUNTER_OFFER', 'WITHDRAWN'] as const;
const REQUESTER_RESPONSES = ['CANCELLED', 'ACCEPTED', 'REJECTED', 'COMPLETED'] as const;

export type Status = (typeof STATUSES)[number];
export type ProviderResponse = (typeof PROVIDER_RESPONSES)[number];
export type RequesterResponse = (typeof REQUESTER_RESPONSES)[number];

/**
 * Why a request ended as it did, for programs: the workflows write it beside the sentence in `failureReason`.
 *
 * As in handlers/bank/endings.py. A code keeps its meaning; there may be more of them one day.
 */
export const FAILURE_CODES = [
  'REQUEST_ILLEGAL',
  'NOT_ENOUGH_HOURS',
  'ID_USED_BEFORE',
  'PROVIDER_DECLINED',
  'PROVIDER_TIMED_OUT',
  'PROVIDER_WITHDREW',
  'ANSWER_NOT_UNDERSTOOD',
  'OFFER_DECLINED',
  'OFFER_ILLEGAL',
  'OFFER_NOT_AFFORDABLE',
  'REQUESTER_TIMED_OUT',
  'REQUESTER_CANCELLED',
  'REQUEST_GONE',
  'TECHNICAL_FAILURE',
  'OPERATOR_DECIDED',
] as const;
export type FailureCode = (typeof FAILURE_CODES)[number];

/** A request as its requester and its provider read it. Hours are numbers with at most 2 decimal places. */
export interface ServiceRequest {
  readonly id: string;
  readonly serviceId: string;
  /** The `sub` of a Cognito user, as `providerId`. */
  readonly requesterId: string;
  readonly providerId: string;
  readonly estimatedHours: number;
  readonly providerResponseTimeoutSeconds: number | null;
  readonly providerResponse: ProviderResponse | null;
  /** What the provider wrote last; binding is `offeredHours`. */
  readonly counterOfferHours: number | null;
  readonly requesterResponse: RequesterResponse | null;
  /** `PENDING` where the record has none yet. */
  readonly status: Status;
  /** The counter-offer that the requester is asked about, fixed when the request became `NEGOTIATING`. */
  readonly offeredHours: number | null;
  /** One English sentence; for another language there is `failureCode`. */
  readonly failureReason: string | null;
  /** Null where there is no reason, where the app's schema or the workflow is older than codes, and for an unknown one. */
  readonly failureCode: FailureCode | null;
  readonly stepFunctionExecutionArn: string | null;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** The fields of `ServiceRequest` that every schema has, as a GraphQL selection. */
export const SELECTION =
  'id serviceId requesterId providerId estimatedHours providerResponseTimeoutSeconds providerResponse ' +
  'counterOfferHours requesterResponse status offeredHours failureReason stepFunctionExecutionArn createdAt updatedAt';

/** The fields that a schema may lack because it is older. */
export const NEWER_FIELDS = ['failureCode'] as const;

/**
 * What people can do, who may, in which statuses, and what they then write.
 *
 * `leadsTo` are the statuses in which the act was heard: it is done, and doing it again is nothing.
 */
export const ACTS = {
  accept: {
    by: 'provider',
    in: ['AWAITING_PROVIDER'],
    leadsTo: ['IN_PROGRESS', 'COMPLETED'],
    writes: { providerResponse: 'ACCEPTED' },
  },
  decline: {
    by: 'provider',
    in: ['AWAITING_PROVIDER'],
    leadsTo: ['DECLINED'],
    writes: { providerResponse: 'REJECTED' },
  },
  counterOffer: {
    by: 'provider',
    in: ['AWAITING_PROVIDER'],
    leadsTo: ['NEGOTIATING', 'IN_PROGRESS', 'COMPLETED', 'DECLINED', 'CANCELLED', 'TIMED_OUT'],
    writes: { providerResponse: 'COUNTER_OFFER' },
  },
  withdraw: {
    by: 'provider',
    in: ['IN_PROGRESS'],
    leadsTo: ['CANCELLED'],
    writes: { providerResponse: 'WITHDRAWN' },
  },
  cancel: {
    by: 'requester',
    in: ['PENDING', 'VALIDATING', 'ESCROWED', 'AWAITING_PROVIDER'],
    leadsTo: ['CANCELLED'],
    writes: { requesterResponse: 'CANCELLED' },
  },
  acceptOffer: {
    by: 'requester',
    in: ['NEGOTIATING'],
    leadsTo: ['IN_PROGRESS', 'COMPLETED', 'DECLINED'],
    writes: { requesterResponse: 'ACCEPTED' },
  },
  rejectOffer: {
    by: 'requester',
    in: ['NEGOTIATING'],
    leadsTo: ['DECLINED'],
    writes: { requesterResponse: 'REJECTED' },
  },
  confirm: {
    by: 'requester',
    in: ['IN_PROGRESS'],
    leadsTo: ['COMPLETED'],
    writes: { requesterResponse: 'COMPLETED' },
  },
} as const satisfies Record<
  string,
  {
    by: 'provider' | 'requester';
    in: readonly Status[];
    leadsTo: readonly Status[];
    writes: { providerResponse: ProviderResponse } | { requesterResponse: RequesterResponse };
  }
>;

export type Act = keyof typeof ACTS;
export type Role = (typeof ACTS)[Act]['by'];
type ActBy<R extends Role> = { [A in Act]: (typeof ACTS)[A]['by'] extends R ? A : never }[Act];
/** `accept`, `decline`, `counterOffer`, and `withdraw` to give up a service in progress. */
export type ProviderAct = ActBy<'provider'>;
/** `cancel`, `acceptOffer` and `rejectOffer`, and `confirm` once the service was received. */
export type RequesterAct = ActBy<'requester'>;
/** The acts that a status allows: `ActIn<'NEGOTIATING'>` is `'acceptOffer' | 'rejectOffer'`. */
export type ActIn<S extends Status> = { [A in Act]: S extends (typeof ACTS)[A]['in'][number] ? A : never }[Act];

const ACT_NAMES = Object.keys(ACTS) as Act[];
const isIn = (statuses: readonly Status[], status: Status): boolean => statuses.includes(status);

/** Whether the workflow has ended: nothing changes any more. */
export const isEnded = ({ status }: ServiceRequest): boolean =>
  STATUSES.indexOf(status) > STATUSES.indexOf('IN_PROGRESS');

/** Which side of the request somebody is on; undefined for everybody else. */
export function roleOf(request: ServiceRequest, userId: string): Role | undefined {
  if (userId === request.providerId) return 'provider';
  return userId === request.requesterId ? 'requester' : undefined;
}

/** Whether this act was written already, and was heard or is about to be. */
export function isSaid(request: ServiceRequest, act: Act): boolean {
  const { writes, in: during, leadsTo } = ACTS[act];
  const isWritten = Object.entries(writes).every(([field, value]) => request[field as keyof ServiceRequest] === value);
  return isWritten && (isIn(during, request.status) || isIn(leadsTo, request.status));
}

/**
 * What a person can do with a request as it stands: nothing for strangers, nothing once it has ended, and nothing
 * twice.
 *
 * A side that has spoken waits. The exceptions are the workflow's: the provider's answer beats `cancel`, and `confirm`
 * beats `withdraw`.
 */
export function possibleActs(request: ServiceRequest, userId: string): Act[] {
  const role = roleOf(request, userId);
  if (role === undefined || hasSpoken(request, role)) return [];
  return ACT_NAMES.filter((act) => ACTS[act].by === role && isIn(ACTS[act].in, request.status));
}

function hasSpoken({ status, providerResponse, requesterResponse }: ServiceRequest, role: Role): boolean {
  switch (status) {
    case 'NEGOTIATING':
      return requesterResponse !== null && requesterResponse !== 'COMPLETED';
    case 'IN_PROGRESS':
      return requesterResponse === 'COMPLETED' || (role === 'provider' && providerResponse === 'WITHDRAWN');
    case 'AWAITING_PROVIDER':
      return providerResponse !== null || (role === 'requester' && requesterResponse === 'CANCELLED');
    default:
      return requesterResponse === 'CANCELLED';
  }
}

const LABELS: Record<Status, string> = {
  PENDING: 'Request sent',
  VALIDATING: 'Request being checked',
  ESCROWED: 'Hours held',
  AWAITING_PROVIDER: 'Provider asked',
  NEGOTIATING: 'Counter-offer made',
  IN_PROGRESS: 'Service in progress',
  COMPLETED: 'Service received, hours paid',
  REJECTED: 'Refused',
  DECLINED: 'Declined',
  CANCELLED: 'Cancelled',
  TIMED_OUT: 'Not answered in time',
  FAILED: 'Failed',
};

/** One step of a request's way; the `current` one of a request that has ended is its end. */
export interface Step {
  readonly status: Status;
  readonly label: string;
  readonly state: 'done' | 'current' | 'ahead';
}

/**
 * A request's way as steps: sent, held, asked, in progress, paid; or from the first to the end that it came to.
 *
 * The record keeps no history: what lies between is known only where the service came about.
 */
export function stepsOf(request: ServiceRequest): Step[] {
  const { status, offeredHours } = request;
  const way: Status[] =
    isEnded(request) && status !== 'COMPLETED'
      ? ['PENDING', status]
      : ['PENDING', 'ESCROWED', 'AWAITING_PROVIDER', 'IN_PROGRESS', 'COMPLETED'];
  if (status === 'VALIDATING') way[0] = status;
  if (way.length > 2 && (status === 'NEGOTIATING' || offeredHours !== null)) way.splice(3, 0, 'NEGOTIATING');
  const now = way.indexOf(status);
  return way.map((step, at) => ({
    status: step,
    label: LABELS[step],
    state: at < now ? 'done' : at === now ? 'current' : 'ahead',
  }));
}

/** What an answer of the API says a request is. Raises `MalformedAnswer` where it is none. */
export function toServiceRequest(answer: unknown): ServiceRequest {
  const bad = (field: string): never => {
    throw new HourBankError('MalformedAnswer', undefined, { cause: `${field} is missing or of another type` });
  };
  if (typeof answer !== 'object' || answer === null || Array.isArray(answer)) return bad('the request');
  const record = answer as Record<string, unknown>;
  const text = (field: keyof ServiceRequest): string => {
    const value = record[field];
    return typeof value === 'string' && value !== '' ? value : bad(field);
  };
  const number = (field: keyof ServiceRequest): number => {
    const value = record[field];
    return typeof value === 'number' ? value : bad(field);
  };
  const absent = (field: keyof ServiceRequest): boolean => record[field] === null || record[field] === undefined;
  const oneOf = <T extends string>(field: keyof ServiceRequest, values: readonly T[]): T =>
    values.find((value) => value === record[field]) ?? bad(field);
  return {
    id: text('id'),
    serviceId: text('serviceId'),
    requesterId: text('requesterId'),
    providerId: text('providerId'),
    estimatedHours: number('estimatedHours'),
    providerResponseTimeoutSeconds: absent('providerResponseTimeoutSeconds')
      ? null
      : number('providerResponseTimeoutSeconds'),
    providerResponse: absent('providerResponse') ? null : oneOf('providerResponse', PROVIDER_RESPONSES),
    counterOfferHours: absent('counterOfferHours') ? null : number('counterOfferHours'),
    requesterResponse: absent('requesterResponse') ? null : oneOf('requesterResponse', REQUESTER_RESPONSES),
    status: absent('status') ? 'PENDING' : oneOf('status', STATUSES),
    offeredHours: absent('offeredHours') ? null : number('offeredHours'),
    failureReason: absent('failureReason') ? null : text('failureReason'),
    failureCode: FAILURE_CODES.find((code) => code === record['failureCode']) ?? null,
    stepFunctionExecutionArn: absent('stepFunctionExecutionArn') ? null : text('stepFunctionExecutionArn'),
    createdAt: text('createdAt'),
    updatedAt: text('updatedAt'),
  };
}
