import type { RequestState } from './hourbank.js';
import { stepsOf, type Act, type ServiceRequest } from './request.js';

/** What stands on the button of an act. */
export const ACT_LABELS: Record<Act, string> = {
  accept: 'Accept',
  decline: 'Decline',
  counterOffer: 'Make a counter-offer',
  withdraw: 'Give up the service',
  cancel: 'Cancel the request',
  acceptOffer: 'Accept the counter-offer',
  rejectOffer: 'Decline the counter-offer',
  confirm: 'Confirm that the service was received',
};

/** A name for an id, in the app's own words. */
export type Naming = (id: string) => string;

/** For an app whose ids are names. */
export const itself: Naming = (id) => id;

/** A term and its value. */
export type Row = readonly [term: string, value: string];

/** What a form asks for; the person only where the app can name them. */
export function askedRows(
  serviceId: string,
  providerId: string,
  serviceName: Naming,
  personName: Naming | undefined,
): Row[] {
  const service: Row = ['Service', serviceName(serviceId)];
  return personName ? [service, ['Provider', personName(providerId)]] : [service];
}

/** What a request is about; the other person only where the app can name them. */
export function rowsOf(
  request: ServiceRequest,
  { role }: Pick<RequestState, 'role'>,
  serviceName: Naming,
  personName: Naming | undefined,
): Row[] {
  const rows: [string, string | null][] = [
    ['Service', serviceName(request.serviceId)],
    ['Provider', personName && role !== 'provider' ? personName(request.providerId) : null],
    ['Requester', personName && role === 'provider' ? personName(request.requesterId) : null],
    ['Hours', String(request.estimatedHours)],
    ['Counter-offer', request.offeredHours === null ? null : String(request.offeredHours)],
    ['Reason', request.failureReason],
  ];
  return rows.filter((row): row is [string, string] => row[1] !== null);
}

/** How a request that is watched stands, in one sentence. */
export function statusOf(state: RequestState | undefined): string {
  if (state?.trouble) return state.trouble.message;
  const steps = state?.request ? stepsOf(state.request) : [];
  return steps.find((step) => step.state === 'current')?.label ?? 'Loading the request';
}
